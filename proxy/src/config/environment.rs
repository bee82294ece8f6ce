//! Owns the process's environment variables: the only place that reads them.
//! A secret may come by `NAME` or by the file that `NAME_FILE` names.

use std::collections::HashMap;

use crate::secret::Secret;

/// A snapshot of the environment.
pub(crate) struct Environment(HashMap<String, String>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// A variable that cannot be used. Names only, never a value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    #[error("{name}_FILE names a file that cannot be read: {source}")]
    File {
        name: String,
        source: std::io::Error,
    },
    #[error("both {name} and {name}_FILE are set: unset one")]
    Both { name: String },
}

impl Environment {
    pub(crate) fn process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    /// An empty variable counts as unset, as a shell's `NAME=` usually means.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The variable, or the content of the file in `NAME_FILE` without its last line end.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Secret>, EnvironmentError> {
        let direct = self.text(name);
        let Some(path) = self.text(&format!("{name}_FILE")) else {
            return Ok(direct.map(|value| Secret::new(value.to_owned())));
        };
        if direct.is_some() {
            return Err(EnvironmentError::Both {
                name: name.to_owned(),
            });
        }
        let content = std::fs::read_to_string(path).map_err(|source| EnvironmentError::File {
            name: name.to_owned(),
            source,
        })?;
        Ok(Some(Secret::new(
            content.trim_end_matches(['\r', '\n']).to_owned(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn a_secret_comes_from_the_variable_or_from_its_file_but_not_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "from-file\n").unwrap();
        let path = path.to_str().unwrap();
        let read = |variables: &[(&str, &str)]| {
            Environment::of(variables)
                .secret("KEY")
                .map(|found| found.map(|secret| secret.expose().to_owned()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("KEY", "")]), Ok(None));
        assert_eq!(read(&[("KEY", "direct")]), Ok(Some("direct".to_owned())));
        assert_eq!(
            read(&[("KEY_FILE", path)]),
            Ok(Some("from-file".to_owned()))
        );
        assert!(
            read(&[("KEY", "direct"), ("KEY_FILE", path)])
                .unwrap_err()
                .contains("unset one")
        );
        assert!(
            read(&[("KEY_FILE", "/nonexistent")])
                .unwrap_err()
                .contains("KEY_FILE")
        );
    }
}

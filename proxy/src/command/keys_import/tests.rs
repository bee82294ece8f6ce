//! The file as it is read, and what is counted; what becomes of a row is
//! tested with the key API.

use std::{fs, path::PathBuf};

use tokio::runtime::Runtime;

use super::{Counts, ImportError, import, run};

struct Case {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        Self {
            runtime: Runtime::new().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("test.db").display())
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.folder.path().join("keys.json");
        fs::write(&file, text).unwrap();
        file
    }

    fn import(&self, text: &str, replace: bool) -> Result<Counts, ImportError> {
        import(&self.runtime, &self.url(), &self.file(text), replace)
    }
}

fn row(number: usize) -> String {
    format!(r#"{{"token":"{number:064x}","key_alias":"key-{number}","spend":0.5}}"#)
}

#[test]
fn arrays_and_lines_are_read_alike() {
    let rows: Vec<String> = (0..2_500).map(row).collect();
    for text in [
        format!(" \n[{}]\n", rows.join(",\n")),
        format!("\n{}\r\n\n", rows.join("\r\n")),
    ] {
        let case = Case::new();
        let counts = case.import(&text, false).unwrap();
        let expected = Counts {
            imported: 2_500,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
        let again = case.import(&text, false).unwrap();
        let expected = Counts {
            existing: 2_500,
            ..Counts::default()
        };
        assert_eq!(again, expected);
        let replaced = case.import(&text, true).unwrap();
        let expected = Counts {
            replaced: 2_500,
            ..Counts::default()
        };
        assert_eq!(replaced, expected);
    }
}

#[test]
fn a_row_that_is_refused_keeps_no_other_out() {
    let case = Case::new();
    let text = format!("{}\nnot json\n[]\n{{}}\n{}", row(1), row(2));
    let counts = case.import(&text, false).unwrap();
    let expected = Counts {
        imported: 2,
        refused: 3,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    let failed = run(&case.runtime, &case.url(), &case.file(&text), false);
    assert!(matches!(failed, Err(ImportError::Refused(3))));
}

#[test]
fn rows_before_the_place_where_a_file_is_damaged_are_imported() {
    let case = Case::new();
    let text = format!("[{},{},{{\"token\":", row(1), row(2));
    let failed = case.import(&text, false);
    assert!(matches!(failed, Err(ImportError::Damaged { row: 2, .. })));
    let all = format!("[{},{},{}]", row(1), row(2), row(3));
    let counts = case.import(&all, false).unwrap();
    assert_eq!((counts.imported, counts.existing), (1, 2));
}

#[test]
fn a_file_that_is_not_there_makes_no_store() {
    let case = Case::new();
    let missing = case.folder.path().join("missing.json");
    let failed = import(&case.runtime, &case.url(), &missing, false);
    assert!(matches!(failed, Err(ImportError::Read { .. })));
    assert!(!case.folder.path().join("test.db").exists());
    assert_eq!(case.import("", false).unwrap(), Counts::default());
}

//! Entry points of the fuzz targets in `plugin/fuzz`, one a target.
//!
//! Owns the properties: no input panics, and what is said beside each function
//! holds. Not part of the crate's interface.

mod fields;
mod routes;

pub use crate::grpc::convert::fuzzing::pb_convert;
pub use fields::field_coercion;
pub use routes::framework_route;

use crate::handshake;

/// Lines of `NAME=VALUE` as the environment; a line without `=` goes on with
/// the value before it, as a certificate does. What is printed is one line.
pub fn handshake_env(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut variables: Vec<(&str, String)> = Vec::new();
    for line in text.split('\n') {
        match (line.split_once('='), variables.last_mut()) {
            (Some((name, value)), _) => variables.push((name, value.to_owned())),
            (None, Some((_, value))) => {
                value.push('\n');
                value.push_str(line);
            }
            (None, None) => {}
        }
    }
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, _)| *name == wanted)?;
        Some(found.1.clone())
    };
    let Ok(plan) = handshake::plan(variable) else {
        return;
    };
    assert!(plan.metadata_mode || plan.host_certificate.is_some());
    let line = handshake::line(&plan, "/tmp/socket", "Y2VydA");
    assert!(line.starts_with("1|5|unix|/tmp/socket|grpc|Y2VydA"));
    assert!(!line.contains('\n'));
}

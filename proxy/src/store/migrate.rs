//! Owns the schema's history: the embedded migrations, and the refusal to
//! touch a database that a newer binary has written. Called when the store
//! opens.

use std::path::Path;

use sqlx::{
    SqlitePool,
    migrate::{MigrateError, Migrator},
};

use super::OpenError;

static MIGRATIONS: Migrator = sqlx::migrate!();

pub(super) async fn run(writer: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let path = path.display().to_string();
    match MIGRATIONS.run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(OpenError::Newer {
            path,
            found,
            known: MIGRATIONS.iter().map(|one| one.version).max().unwrap_or(0),
        }),
        Err(error) => Err(OpenError::Unusable {
            path,
            reason: format!("migrating its schema: {error}"),
        }),
    }
}

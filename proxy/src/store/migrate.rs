//! Owns the schema's history: the embedded migrations, and the refusal to
//! touch a database that a newer binary has written. Called when the store
//! opens.

use sqlx::{
    AnyPool,
    migrate::{MigrateError, Migrator},
};

use super::{OpenError, postgres::is_outage};

/// The two histories have one numbering: a number means the same change in both.
pub(super) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// `place` names the store to the operator.
pub(super) async fn run(
    migrations: &Migrator,
    writer: &AnyPool,
    place: &str,
) -> Result<(), OpenError> {
    let place = place.to_owned();
    match migrations.run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(OpenError::Newer {
            place,
            found,
            known: migrations.iter().map(|one| one.version).max().unwrap_or(0),
        }),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))
            if is_outage(&error) || is_locked(&error) =>
        {
            Err(OpenError::Unreachable {
                place,
                reason: format!("migrating its schema: {error}"),
            })
        }
        Err(error) => Err(OpenError::Unusable {
            place,
            reason: format!("migrating its schema: {error}"),
        }),
    }
}

/// Another process migrates, or uses what is to be changed. PostgreSQL:
/// `lock_not_available`.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03")
}

#[cfg(test)]
mod tests;

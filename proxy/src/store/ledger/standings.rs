//! Where many accounts stand, read with few statements. SQLite and PostgreSQL
//! have no list of parameters in common: the accounts go in as one text, in
//! fields of one width, and the database takes it apart.

use std::collections::HashMap;

use sqlx::Row as _;

use super::read_standing;
use crate::key::AccountId;
use crate::ledger::account::Standing;
use crate::store::{Store, StoreError};

/// Accounts a statement.
const AT_ONCE: usize = 100;
/// Room for the name of any scope.
const SCOPE_WIDTH: usize = 16;
/// Fills a field; no id ends with it.
const FILL: char = '\n';

/// Those of the accounts that are there.
pub(crate) async fn standings(
    store: &Store,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Standing>, StoreError> {
    let mut found = HashMap::with_capacity(accounts.len());
    for some in accounts.chunks(AT_ONCE) {
        let (text, width) = fields(some);
        let rows = sqlx::query(
            "WITH RECURSIVE place (at) AS (
                 SELECT CAST(0 AS BIGINT)
                 UNION ALL SELECT at + $2 FROM place WHERE at + $2 < length($1)
             ), wanted AS (
                 SELECT rtrim(substr($1, CAST(at + 1 AS INTEGER), CAST($3 AS INTEGER)), $4) AS scope,
                     rtrim(substr($1, CAST(at + $3 + 1 AS INTEGER), CAST($2 - $3 AS INTEGER)), $4)
                         AS subject
                 FROM place
             )
             SELECT account.scope, account.subject, limit_nanousd, posted_nanousd,
                 allotted_nanousd, budget_duration
             FROM wanted JOIN account
                 ON account.scope = wanted.scope AND account.subject = wanted.subject",
        )
        .bind(text)
        .bind(width)
        .bind(i64::try_from(SCOPE_WIDTH).unwrap_or_default())
        .bind(FILL.to_string())
        .fetch_all(store.settled().await?)
        .await
        .map_err(StoreError::while_doing("reading accounts"))?;
        for row in rows {
            let account = read(&row).map_err(StoreError::while_doing("reading an account"))?;
            found.extend(account);
        }
    }
    Ok(found)
}

fn read(row: &sqlx::any::AnyRow) -> Result<Option<(AccountId, Standing)>, sqlx::Error> {
    let (scope, subject): (String, String) = (row.try_get("scope")?, row.try_get("subject")?);
    let standing = read_standing(row)?;
    Ok(AccountId::parse(&scope, &subject).map(|account| (account, standing)))
}

/// The text, and the width in characters of an account in it.
fn fields(accounts: &[AccountId]) -> (String, i64) {
    let subjects: Vec<String> = accounts.iter().map(AccountId::subject).collect();
    let widest = subjects.iter().map(|subject| subject.chars().count()).max();
    let subject_width = widest.unwrap_or_default().max(1);
    let mut text = String::new();
    for (account, subject) in accounts.iter().zip(&subjects) {
        fill(&mut text, account.scope(), SCOPE_WIDTH);
        fill(&mut text, subject, subject_width);
    }
    (
        text,
        i64::try_from(SCOPE_WIDTH + subject_width).unwrap_or_default(),
    )
}

fn fill(text: &mut String, field: &str, width: usize) {
    text.push_str(field);
    let missing = width.saturating_sub(field.chars().count());
    text.extend(std::iter::repeat_n(FILL, missing));
}

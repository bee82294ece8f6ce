//! An operator's word on what an account has spent, in the store. Verification
//! knows of it: a correction is no row of usage.

use sqlx::AnyConnection;

use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store::StoreError;

/// Sets what an account has posted, and answers by how many nano-dollars that
/// changed it; one that is not there stays so. Only one change of definitions runs at a time,
/// so the correction that is read here is still the one that is added to.
pub(crate) async fn set_posted(
    write: &mut AnyConnection,
    account: &AccountId,
    posted: NanoUsd,
) -> Result<i64, StoreError> {
    let failed = || StoreError::while_doing("correcting an account");
    let before: Option<i64> = sqlx::query_scalar(
        "SELECT corrected_nanousd FROM account WHERE scope = $1 AND subject = $2",
    )
    .bind(account.scope())
    .bind(account.subject())
    .fetch_optional(&mut *write)
    .await
    .map_err(failed())?;
    let Some(before) = before else {
        return Ok(posted.nanos());
    };
    let after: i64 = sqlx::query_scalar(
        "UPDATE account SET corrected_nanousd = corrected_nanousd + $3 - posted_nanousd,
             posted_nanousd = $3
         WHERE scope = $1 AND subject = $2
         RETURNING corrected_nanousd",
    )
    .bind(account.scope())
    .bind(account.subject())
    .bind(posted.nanos())
    .fetch_one(write)
    .await
    .map_err(failed())?;
    Ok(after - before)
}

//! What a claim is granted: all that it asks for, in each of its accounts, or
//! nothing at all.

use super::accounts::Rows;
use crate::ledger::account::{AHEAD_DIVISOR, Standing};
use crate::ledger::entry::{Amounts, Claim, Grant, Outcome};
use crate::money::NanoUsd;

/// Allots to a claim of what is left after the claims before it. `posted` is what is
/// known to be posted of each account, where that is more than its row says.
pub(in crate::store) fn grant(rows: &mut Rows, claim: &Claim, posted: &Amounts) -> Outcome {
    let mut grants: Vec<Grant> = Vec::new();
    for (at, account) in claim.asked() {
        let (least, posted) = (claim.least[at], posted[at]);
        let row = rows.get_mut(account);
        let Some(row) = row.filter(|row| row.fits(posted, least)) else {
            let standing = rows.get(account).map(|row| row.standing());
            take_back(rows, claim, &grants);
            let standing = standing.unwrap_or_default();
            return Outcome::Refused { at, standing };
        };
        let mut standing = row.standing();
        standing.posted = standing.posted.max(posted);
        let most = least.saturating_add(ahead(standing, least, claim.ahead[at]));
        let amount = if row.fits(posted, most) { most } else { least };
        row.allot(amount);
        grants.push(Grant {
            at,
            amount,
            standing: row.standing(),
        });
    }
    Outcome::Granted(grants)
}

/// As if it had not been granted.
fn take_back(rows: &mut Rows, claim: &Claim, grants: &[Grant]) {
    for grant in grants {
        if let Some(row) = rows.get_mut(&claim.accounts[grant.at]) {
            row.release(grant.amount);
        }
    }
}

/// How much of `asked` goes with a claim: a part of what is left then, by what
/// all processes have taken, so that it shrinks as the limit comes near.
fn ahead(standing: Standing, least: NanoUsd, asked: NanoUsd) -> NanoUsd {
    let Some(limit) = standing.limit else {
        return asked;
    };
    let used = standing.posted.saturating_add(standing.allotted);
    let left = limit.saturating_sub(used.saturating_add(least));
    asked.min(NanoUsd::from_nanos(left.nanos() / AHEAD_DIVISOR))
}

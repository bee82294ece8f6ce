//! What calls have cost, for those who ask: rows by page, sums by group, the
//! totals of one key. It only reads, and every value of a request is bound.
//!
//! A call counts where it began. Rows without a model are what recovery posted;
//! those of shared accounts have no key, and a sum over calls leaves them out,
//! because the keys' own rows may tell of the same calls.

mod report;
mod rows;
mod totals;

pub(crate) use self::report::{Group, Groups};
pub(crate) use self::rows::{Call, Filter};
pub(crate) use self::totals::Totals;

//! A batch of the ledger as bytes, or the claims of some calls: the rows of its calls,
//! and where each account that it changed stands after it. Without names, because a
//! busy gateway writes thousands of rows a second, and a claim for most calls.

use std::{borrow::Cow, sync::Arc};

use chrono::DateTime;
use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::key::{AccountId, KeyHash};
use crate::money::NanoUsd;
use crate::price::Usage;
use crate::store::ledger::accounts::Total;
use crate::store::usage::UsageRow;

/// A record begins with it.
const VERSION: u8 = 1;

/// Process, batch, and the record's place among all records of the process.
pub(super) type Id = (Uuid, i64, i64);

/// One batch of one process, or claims after it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) process: Uuid,
    pub(super) batch: i64,
    /// Its place among all records of the process.
    pub(super) number: Option<i64>,
    pub(super) rows: Vec<UsageRow>,
    pub(super) totals: Vec<(AccountId, Total)>,
}

/// A record that cannot be read, though it is whole.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum RecordError {
    #[error("a record of the journal is none: {0}")]
    Bytes(#[from] postcard::Error),
    #[error("a record of the journal is none of JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the journal was left by a newer version of llm-proxy: upgrade this binary")]
    Version,
    #[error("a record of the journal names an account that this version does not know")]
    Account,
    #[error("a record of the journal has a time outside of the calendar")]
    Time,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    version: u8,
    process: Uuid,
    batch: i64,
    number: Option<i64>,
    /// Those that are meant below, by their places.
    #[serde(borrow)]
    accounts: Vec<Name<'a>>,
    /// Account, posted, corrected, allotted.
    totals: Vec<(usize, i64, i64, i64)>,
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

/// As [`Written`], of the versions before it, whose records were JSON.
#[derive(Deserialize)]
struct Before<'a> {
    process: Uuid,
    batch: i64,
    /// The first of them wrote none, and had batches alone.
    #[serde(default)]
    number: Option<i64>,
    #[serde(borrow)]
    accounts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    totals: Vec<(usize, i64, i64, i64)>,
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

#[derive(Serialize, Deserialize)]
enum Name<'a> {
    Key([u8; 32]),
    /// Scope and subject.
    Shared(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>),
}

/// The columns of a usage row in their order, but for the accounts.
#[derive(Serialize, Deserialize)]
struct Row<'a>(
    Uuid,
    Vec<usize>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    [u64; 3],
    i64,
    bool,
    bool,
    u16,
    [i64; 2],
);

struct Places<'a> {
    of: HashMap<&'a AccountId, usize>,
    names: Vec<Name<'a>>,
}

impl<'a> Places<'a> {
    /// Of these, in their order.
    fn new(accounts: impl Iterator<Item = &'a AccountId> + Clone, are_looked_up: bool) -> Self {
        let of = match are_looked_up {
            true => accounts.clone().zip(0..).collect(),
            false => HashMap::default(),
        };
        let names = accounts.map(Name::of).collect();
        Self { of, names }
    }

    fn of(&mut self, account: &'a AccountId) -> usize {
        let names = &mut self.names;
        *self.of.entry(account).or_insert_with(|| {
            names.push(Name::of(account));
            names.len() - 1
        })
    }
}

impl<'a> Name<'a> {
    fn of(account: &'a AccountId) -> Self {
        match account {
            AccountId::Key(hash) => Self::Key(*hash.as_bytes()),
            AccountId::Shared(_) => Self::Shared(account.scope().into(), account.subject().into()),
        }
    }

    fn read(&self) -> Option<AccountId> {
        match self {
            Self::Key(bytes) => Some(AccountId::Key(KeyHash::from_bytes(*bytes))),
            Self::Shared(scope, subject) => AccountId::parse(scope, subject),
        }
    }
}

pub(super) fn encode(
    (process, batch, number): Id,
    rows: &[UsageRow],
    totals: &[(AccountId, Total)],
) -> Result<Vec<u8>, postcard::Error> {
    let accounts = totals.iter().map(|(account, _)| account);
    // Claims have no rows, and are written by a call that waits for them.
    let mut places = Places::new(accounts, !rows.is_empty());
    let totals = totals.iter().enumerate().map(|(place, (_, total))| {
        let [posted, allotted] = [total.posted, total.allotted].map(NanoUsd::nanos);
        (place, posted, total.corrected_nanos, allotted)
    });
    let totals = totals.collect();
    let rows = rows.iter().map(|row| {
        let accounts = row.accounts.iter();
        let usage = row.usage;
        Row(
            row.request_id,
            accounts.map(|account| places.of(account)).collect(),
            (&*row.model).into(),
            (&*row.deployment_id).into(),
            [
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
            ],
            row.cost.nanos(),
            row.estimated,
            row.streamed,
            row.status,
            [row.started_at, row.finished_at].map(|time| time.timestamp_micros()),
        )
    });
    let rows = rows.collect();
    postcard::to_allocvec(&Written {
        version: VERSION,
        process,
        batch,
        number: Some(number),
        accounts: places.names,
        totals,
        rows,
    })
}

pub(super) fn decode(content: &[u8]) -> Result<Record, RecordError> {
    let written: Written<'_> = match content.first() {
        Some(&VERSION) => postcard::from_bytes(content)?,
        Some(b'{') => serde_json::from_slice::<Before<'_>>(content)?.into(),
        _ => return Err(RecordError::Version),
    };
    let read = |name: &Name<'_>| name.read().ok_or(RecordError::Account);
    let accounts = written.accounts.iter().map(read);
    let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
    let at = |place: usize| accounts.get(place).cloned().ok_or(RecordError::Account);
    let totals = written
        .totals
        .iter()
        .map(|(place, posted, corrected, allotted)| {
            let total = Total {
                posted: NanoUsd::from_nanos(*posted),
                corrected_nanos: *corrected,
                allotted: NanoUsd::from_nanos(*allotted),
            };
            Ok((at(*place)?, total))
        });
    let totals = totals.collect::<Result<_, RecordError>>()?;
    let rows = written.rows.into_iter().map(|row| {
        let accounts = row.1.iter().map(|place| at(*place));
        let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
        row.read(accounts.into())
    });
    let rows = rows.collect::<Result<_, RecordError>>()?;
    Ok(Record {
        process: written.process,
        batch: written.batch,
        number: written.number,
        rows,
        totals,
    })
}

impl<'a> From<Before<'a>> for Written<'a> {
    fn from(before: Before<'a>) -> Self {
        let accounts = before.accounts.into_iter();
        Self {
            version: VERSION,
            process: before.process,
            batch: before.batch,
            number: before.number,
            accounts: accounts
                .map(|(scope, subject)| Name::Shared(scope, subject))
                .collect(),
            totals: before.totals,
            rows: before.rows,
        }
    }
}

impl Row<'_> {
    fn read(self, accounts: Arc<[AccountId]>) -> Result<UsageRow, RecordError> {
        let Self(
            request_id,
            _,
            model,
            deployment_id,
            tokens,
            cost,
            estimated,
            streamed,
            status,
            times,
        ) = self;
        let [prompt_tokens, completion_tokens, cached_tokens] = tokens;
        let [started_at, finished_at] =
            times.map(|micros| DateTime::from_timestamp_micros(micros).ok_or(RecordError::Time));
        Ok(UsageRow {
            request_id,
            accounts,
            model: Arc::from(&*model),
            deployment_id: Arc::from(&*deployment_id),
            usage: Usage {
                prompt_tokens,
                completion_tokens,
                cached_tokens,
            },
            cost: NanoUsd::from_nanos(cost),
            estimated,
            streamed,
            status,
            started_at: started_at?,
            finished_at: finished_at?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let accounts = [
            AccountId::parse("key", &"ab".repeat(32)).unwrap(),
            AccountId::parse("team", "of \"four\"\twords\u{e9}")
                .unwrap_or_else(|| AccountId::parse("team", "of \"four\" words\u{e9}").unwrap()),
            AccountId::parse("role", "without a row").unwrap(),
        ];
        let now = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let row = |cost, accounts: &[AccountId]| UsageRow {
            request_id: Uuid::now_v7(),
            accounts: accounts.into(),
            model: Arc::from("a \"quoted\" \u{1F600} model"),
            deployment_id: Arc::default(),
            usage: Usage {
                prompt_tokens: u64::MAX,
                completion_tokens: 2,
                cached_tokens: 3,
            },
            cost: NanoUsd::from_nanos(cost),
            estimated: cost == 1,
            streamed: cost != 1,
            status: 200,
            started_at: now,
            finished_at: now,
        };
        let rows = [
            row(1, &accounts[..2]),
            row(i64::MAX, &accounts[..1]),
            row(0, &[]),
        ];
        let total = |posted| Total {
            posted: NanoUsd::from_nanos(posted),
            corrected_nanos: -posted,
            allotted: NanoUsd::from_nanos(posted / 2),
        };
        let totals = [
            (accounts[2].clone(), total(5)),
            (accounts[0].clone(), total(i64::MAX)),
        ];
        let process = Uuid::new_v4();
        let bytes = encode((process, 7, 9), &rows, &totals).unwrap();
        let read = decode(&bytes).unwrap();
        assert_eq!(
            (read.process, read.batch, read.number),
            (process, 7, Some(9))
        );
        assert_eq!(read.totals, totals);
        assert_eq!(format!("{:?}", read.rows), format!("{rows:?}"));
        for length in 1..bytes.len() {
            decode(&bytes[..length]).unwrap_err();
        }
        for (other, expected) in [
            ("", "newer"),
            ("[1]", "newer"),
            ("\u{2}", "newer"),
            ("{}", "JSON"),
            (r#"{"process":1}"#, "JSON"),
        ] {
            let error = decode(other.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

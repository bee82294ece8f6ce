//! `llm-proxy keys import FILE`: takes keys over from an export of LiteLLM's
//! table `LiteLLM_VerificationToken`, a JSON array of rows or one row a line.
//!
//! It owns the reading of the file, the transactions, and what the operator
//! reads. Each transaction holds some thousand rows: an import that is
//! interrupted is simply run again.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Write as _},
    path::Path,
};

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    admin::import::{self, Imported, Outcome},
    clock::Clock,
    store::{OpenError, Store, StoreError},
};

/// Few enough that others who write wait for a fraction of a second, many
/// enough that waiting for the disk costs nothing.
const ROWS_A_TRANSACTION: usize = 1_000;

/// Why an import stopped or is incomplete: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("reading {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is damaged after row {row}, the rows before it are imported: {reason}")]
    Damaged {
        path: String,
        row: usize,
        reason: String,
    },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the rows before row {row} are imported, run it again for the rest: {source}")]
    Store { row: usize, source: StoreError },
    #[error(
        "{0} of the rows are not imported, they are listed above: correct them and run it again"
    )]
    Refused(usize),
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    imported: usize,
    replaced: usize,
    existing: usize,
    deleted: usize,
    refused: usize,
    incomplete: usize,
}

/// What one import needs.
struct Import<'a> {
    runtime: &'a Runtime,
    store: Store,
    clock: Clock,
    replace: bool,
    counts: Counts,
    /// How many rows of the file were read.
    rows: usize,
    /// Rows that wait for their transaction, each with its place.
    waiting: Vec<(usize, Imported)>,
}

/// Imports every row that can be; `replace` gives the rules of the file to keys
/// that exist.
///
/// # Errors
/// Also when some rows were refused: those are printed, the others are imported.
pub(crate) fn run(
    runtime: &Runtime,
    database_url: &str,
    file: &Path,
    replace: bool,
) -> Result<(), ImportError> {
    match import(runtime, database_url, file, replace)?.refused {
        0 => Ok(()),
        refused => Err(ImportError::Refused(refused)),
    }
}

fn import(
    runtime: &Runtime,
    database_url: &str,
    file: &Path,
    replace: bool,
) -> Result<Counts, ImportError> {
    let failed = |source| ImportError::Read {
        path: file.display().to_string(),
        source,
    };
    // Before the store, which it may be about to make.
    let reader = BufReader::new(File::open(file).map_err(failed)?);
    let mut import = Import {
        runtime,
        store: runtime.block_on(Store::open(database_url))?,
        clock: Clock::system(),
        replace,
        counts: Counts::default(),
        rows: 0,
        waiting: Vec::with_capacity(ROWS_A_TRANSACTION),
    };
    let read = import.read_file(reader, file);
    let done = read.and_then(|()| import.commit());
    runtime.block_on(import.store.close());
    import.say_counts()?;
    done.map(|()| import.counts)
}

impl Import<'_> {
    fn read_file(&mut self, mut reader: impl BufRead, file: &Path) -> Result<(), ImportError> {
        let path = || file.display().to_string();
        let failed = |source| ImportError::Read {
            path: path(),
            source,
        };
        skip_space(&mut reader).map_err(failed)?;
        if reader.fill_buf().map_err(failed)?.first() == Some(&b'[') {
            let mut stopped = None;
            let rows = Rows(|row| {
                self.take(Ok(row))
                    .map_err(|error| stopped = Some(error))
                    .is_ok()
            });
            let mut array = serde_json::Deserializer::from_reader(reader);
            let read = array.deserialize_seq(rows).and_then(|()| array.end());
            return match (stopped, read) {
                (Some(error), _) => Err(error),
                (None, Ok(())) => Ok(()),
                (None, Err(error)) => {
                    self.commit()?;
                    Err(ImportError::Damaged {
                        path: path(),
                        row: self.rows,
                        reason: error.to_string(),
                    })
                }
            };
        }
        for line in reader.split(b'\n') {
            let line = line.map_err(failed)?;
            if !line.trim_ascii().is_empty() {
                self.take(serde_json::from_slice(&line).map_err(|_| "it is not JSON".to_owned()))?;
            }
        }
        Ok(())
    }

    /// One row of the file.
    fn take(&mut self, row: Result<Value, String>) -> Result<(), ImportError> {
        self.rows += 1;
        let now = self.clock.now();
        let read = row.and_then(|row| match row {
            Value::Object(columns) => import::read(&columns, now),
            _ => Err("it is no JSON object".to_owned()),
        });
        match read {
            Ok(row) => self.waiting.push((self.rows, row)),
            Err(reason) => {
                self.counts.refused += 1;
                say(format_args!("row {}: not imported: {reason}", self.rows))?;
            }
        }
        match self.waiting.len() < ROWS_A_TRANSACTION {
            true => Ok(()),
            false => self.commit(),
        }
    }

    /// Writes what waits, all or none, and tells of it once it is committed.
    fn commit(&mut self) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.waiting);
        let Some(first) = rows.first().map(|(row, _)| *row) else {
            return Ok(());
        };
        let written = write(&self.store, &mut rows, self.replace, &self.clock);
        let outcomes = self.runtime.block_on(written);
        let outcomes = outcomes.map_err(|source| ImportError::Store { row: first, source })?;
        for ((row, imported), outcome) in rows.iter().zip(outcomes) {
            self.tell(*row, imported, outcome)?;
        }
        Ok(())
    }

    fn tell(&mut self, row: usize, imported: &Imported, outcome: Outcome) -> io::Result<()> {
        let hash = imported.key.hash;
        match outcome {
            Outcome::Added => self.counts.imported += 1,
            Outcome::Replaced => self.counts.replaced += 1,
            Outcome::Exists => {
                self.counts.existing += 1;
                return Ok(());
            }
            Outcome::Deleted => {
                self.counts.deleted += 1;
                return say(format_args!(
                    "row {row} key {hash}: left alone: it was deleted here; --replace brings it back"
                ));
            }
        }
        if imported.left_out.is_empty() {
            return Ok(());
        }
        self.counts.incomplete += 1;
        let names = imported.left_out.join(", ");
        say(format_args!(
            "row {row} key {hash}: imported without what has no effect here: {names}"
        ))
    }

    fn say_counts(&self) -> io::Result<()> {
        let Counts {
            imported,
            replaced,
            existing,
            deleted,
            refused,
            incomplete,
        } = self.counts;
        say(format_args!(
            "rows {} imported {imported} replaced {replaced} left_alone {existing} deleted_before {deleted} refused {refused} incomplete {incomplete}",
            self.rows
        ))
    }
}

async fn write(
    store: &Store,
    rows: &mut [(usize, Imported)],
    replace: bool,
    clock: &Clock,
) -> Result<Vec<Outcome>, StoreError> {
    let mut write = store.begin_write().await?;
    let (mut outcomes, mut trail) = (Vec::with_capacity(rows.len()), Vec::new());
    for (_, row) in rows {
        outcomes.push(import::write(&mut write, row, replace, clock, &mut trail).await?);
    }
    import::write_trail(&mut write, &trail).await?;
    let committed = write.commit().await;
    committed.map_err(StoreError::while_doing("committing imported keys"))?;
    Ok(outcomes)
}

fn skip_space(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let space = buffer.len() - buffer.trim_ascii_start().len();
        let is_done = space < buffer.len() || buffer.is_empty();
        reader.consume(space);
        if is_done {
            return Ok(());
        }
    }
}

fn say(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Hands on each element of an array as it is read, until that answers false.
struct Rows<F>(F);

impl<'de, F: FnMut(Value) -> bool> Visitor<'de> for Rows<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            if !(self.0)(row) {
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The end of the file that takes new records: written to by a batch, and by calls
//! that are about to be sent, which wait for nobody but another write.

use std::{
    io::{self, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::file::{Kept, push_record};
use super::record::{self, Id};
use crate::key::AccountId;
use crate::store::ledger::accounts::Total;

#[derive(Debug)]
pub(super) struct Tail {
    end: Mutex<End>,
    /// A claim waits. Each call that is sent looks here first.
    has_claims: AtomicBool,
}

#[derive(Debug)]
struct End {
    file: Arc<Kept>,
    /// Of the file.
    length: u64,
    /// The disk has not been asked to keep all of it.
    is_behind: bool,
    /// After an error nobody knows what is in the file, and whatever it is must not
    /// count: it takes no more.
    is_broken: bool,
    /// Records that the file does not have yet, as they will stand there.
    waiting: Vec<u8>,
    /// Where the accounts of claims behind them stand, and the record that these become
    /// together: the last of them counts.
    claims: Vec<(AccountId, Total)>,
    claims_id: Id,
}

impl Tail {
    pub(super) fn new(file: Kept, length: u64) -> Self {
        Self {
            end: Mutex::new(End {
                file: Arc::new(file),
                length,
                is_behind: false,
                is_broken: false,
                waiting: Vec::new(),
                claims: Vec::new(),
                claims_id: Id::default(),
            }),
            has_claims: AtomicBool::new(false),
        }
    }

    /// Takes what a claim has changed. It waits for [`Tail::write_claims`], or for the
    /// next record that is written.
    pub(super) fn defer(&self, id: Id, totals: impl Iterator<Item = (AccountId, Total)>) {
        let mut end = self.end();
        end.claims.extend(totals);
        end.claims_id = id;
        self.has_claims.store(true, Ordering::Release);
    }

    /// Writes a record, behind those that wait. It outlives this process from here on,
    /// and a power cut once the disk has kept [`Tail::file`]. When it fails, the others
    /// wait on.
    pub(super) fn append(&self, content: &[u8]) -> io::Result<()> {
        let mut end = self.end();
        end.gather()?;
        let before = end.waiting.len();
        push_record(&mut end.waiting, content)?;
        let written = end.write();
        match written {
            Ok(()) => self.has_claims.store(false, Ordering::Release),
            Err(_) => end.waiting.truncate(before),
        }
        written
    }

    /// All claims outlive this process from here on. False where the file does not
    /// take them: the tables must have them instead.
    pub(super) fn write_claims(&self) -> bool {
        if !self.has_claims.load(Ordering::Acquire) {
            return true;
        }
        let mut end = self.end();
        if end.is_clear() {
            return true;
        }
        if end.is_broken {
            return false;
        }
        if let Err(error) = end.gather().and_then(|()| end.write()) {
            tracing::error!(%error, "writing the journal");
            return false;
        }
        self.has_claims.store(false, Ordering::Release);
        true
    }

    /// An empty file takes the records from here on, and those that wait. Answers the
    /// one before.
    pub(super) fn switch(&self, file: Kept) -> io::Result<Arc<Kept>> {
        let mut end = self.end();
        end.gather()?;
        (&file.file).write_all(&end.waiting)?;
        let before = std::mem::replace(&mut end.file, Arc::new(file));
        (end.length, end.is_behind, end.is_broken) = (0, false, false);
        end.written();
        self.has_claims.store(false, Ordering::Release);
        Ok(before)
    }

    /// Whether the disk has not been asked to keep all of the file: the caller asks it.
    pub(super) fn take_behind(&self) -> bool {
        std::mem::take(&mut self.end().is_behind)
    }

    pub(super) fn file(&self) -> Arc<Kept> {
        Arc::clone(&self.end().file)
    }

    /// The disk has not kept this file; another one does not count any longer.
    pub(super) fn has_failed(&self, file: &Arc<Kept>) {
        let mut end = self.end();
        end.is_broken |= Arc::ptr_eq(&end.file, file);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.end().is_broken
    }

    /// Whether the file has no records, and gets none.
    pub(super) fn is_empty(&self) -> bool {
        let end = self.end();
        end.length == 0 && end.is_clear()
    }

    /// The file has been emptied.
    pub(super) fn cleared(&self) {
        let mut end = self.end();
        (end.length, end.is_behind) = (0, false);
    }

    #[cfg(test)]
    pub(super) fn break_for_a_test(&self) {
        self.end().is_broken = true;
    }

    #[cfg(test)]
    pub(super) fn replace_for_a_test(&self, file: Kept) {
        self.end().file = Arc::new(file);
    }

    /// A panic while it was held cannot leave it half changed, because each change
    /// comes after what may fail.
    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    fn is_clear(&self) -> bool {
        self.waiting.is_empty() && self.claims.is_empty()
    }

    /// Makes a record of the claims.
    fn gather(&mut self) -> io::Result<()> {
        if self.claims.is_empty() {
            return Ok(());
        }
        let content = record::encode(self.claims_id, &[], &self.claims);
        push_record(&mut self.waiting, &content.map_err(io::Error::other)?)?;
        self.claims.clear();
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("a write before has failed"));
        }
        let written = (&self.file.file).write_all(&self.waiting);
        match written {
            Ok(()) => self.written(),
            Err(_) => self.is_broken = true,
        }
        written
    }

    fn written(&mut self) {
        self.length += self.waiting.len() as u64;
        self.is_behind |= !self.waiting.is_empty();
        self.waiting.clear();
    }
}

//! The two files that the journal is written to in turn: one takes new records
//! while the other's are folded, and is then emptied.
//!
//! A record is its length and its checksum, four bytes each, and its content. One
//! that a crash has cut short ends its file: nobody was told that it is there.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::tail::Tail;

const HEAD_BYTES: usize = 8;

#[derive(Debug)]
pub(super) struct Files {
    paths: [PathBuf; 2],
    current: usize,
    tail: Arc<Tail>,
    /// The other one, until the tables have what is in it.
    before: Option<Arc<Kept>>,
}

/// A file that the disk is asked to keep. Of an error the system tells whoever asks
/// first, and nobody after: it is remembered here.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) file: File,
    has_failed: Mutex<bool>,
}

/// What the disk has to keep, in this order: what a record builds on is there before
/// it, in whichever file it is.
#[derive(Debug, Clone)]
pub(super) struct Unsynced {
    before: Option<Arc<Kept>>,
    current: Arc<Kept>,
}

impl Files {
    /// Opens the files beside a database, or makes them; with the records that
    /// are in them, in no order.
    pub(super) fn open(database: &Path) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let paths = ["-ledger-a", "-ledger-b"].map(|end| beside(database, end));
        let mut records = Vec::new();
        for path in &paths {
            match fs::read(path) {
                Ok(bytes) => records.extend(whole_records(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let file = open(&paths[0])?;
        open(&paths[1])?;
        // A new file is there after a crash once its folder says so.
        if let Some(folder) = database.parent() {
            File::open(folder)?.sync_all()?;
        }
        let length = file.metadata()?.len();
        let files = Self {
            paths,
            current: 0,
            tail: Arc::new(Tail::new(Kept::new(file), length)),
            before: None,
        };
        Ok((files, records))
    }

    pub(super) fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// What the disk may not keep yet: the caller waits for it.
    pub(super) fn unsynced(&self) -> Option<Unsynced> {
        let is_behind = self.tail.take_behind();
        (is_behind || self.before.is_some()).then(|| self.all())
    }

    /// All that is in the files now.
    pub(super) fn all(&self) -> Unsynced {
        Unsynced {
            before: self.before.clone(),
            current: self.tail.file(),
        }
    }

    /// The tables have what is in the other file.
    pub(super) fn forget_before(&mut self) {
        self.before = None;
    }

    /// From here on the other file takes the records, emptied.
    pub(super) fn switch(&mut self) -> io::Result<()> {
        let other = 1 - self.current;
        let file = open(&self.paths[other])?;
        file.set_len(0)?;
        self.before = Some(self.tail.switch(Kept::new(file))?);
        self.current = other;
        Ok(())
    }

    /// The next record does not reach the disk.
    #[cfg(test)]
    pub(super) fn break_for_a_test(&self) {
        let file = File::open(&self.paths[self.current]).unwrap();
        self.tail.replace_for_a_test(Kept::new(file));
    }

    /// What is written goes nowhere, and no disk keeps it. The answer reads it.
    #[cfg(test)]
    pub(super) fn lose_for_a_test(&self) -> io::PipeReader {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        self.tail.replace_for_a_test(Kept::new(file));
        reader
    }

    /// Everything in them is in the tables, and they go on.
    pub(super) fn clear(&self) -> io::Result<()> {
        for path in &self.paths {
            File::options().write(true).open(path)?.set_len(0)?;
        }
        self.tail.cleared();
        Ok(())
    }

    /// Everything in them is in the tables, for good.
    pub(super) fn remove(&self) {
        for path in &self.paths {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "removing an empty journal");
            }
        }
    }
}

impl Kept {
    fn new(file: File) -> Self {
        Self {
            file,
            has_failed: Mutex::new(false),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut has_failed = self
            .has_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *has_failed {
            return Err(io::Error::other("the disk has not kept what was before"));
        }
        self.file.sync_data().inspect_err(|_| *has_failed = true)
    }
}

impl Unsynced {
    /// Waits for the disk. After an error what was written counts when the tables have
    /// it, because the file may have lost it; what is in another file than the tail's is
    /// there, or on its way.
    pub(super) fn sync(&self, tail: &Tail) -> io::Result<()> {
        let mut files = self.before.iter().chain([&self.current]);
        let synced = files.try_for_each(|file| file.sync());
        synced.inspect_err(|_| tail.has_failed(&self.current))
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(end);
    PathBuf::from(name)
}

/// Appends a record as it stands in a file.
pub(super) fn push_record(bytes: &mut Vec<u8>, content: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let length = u32::try_from(content.len()).map_err(too_long)?;
    bytes.reserve(HEAD_BYTES + content.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    bytes.extend_from_slice(content);
    Ok(())
}

fn whole_records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let [a, b, c, d, checksum @ ..] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((content, rest)) = rest.split_at_checked(length) else {
            break;
        };
        // A file system may leave zeros where a crash cut a record short.
        if length == 0 || crc32fast::hash(content) != u32::from_le_bytes(checksum) {
            break;
        }
        records.push(content.to_vec());
        bytes = rest;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_again_up_to_what_a_crash_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let (files, found) = Files::open(&database).unwrap();
        assert!(found.is_empty());
        for content in ["one", "two", "three"] {
            files.tail().append(content.as_bytes()).unwrap();
        }
        let read = || Files::open(&database).unwrap().1;
        assert_eq!(
            read(),
            [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
        );
        let path = beside(&database, "-ledger-a");
        let whole = fs::read(&path).unwrap();
        let last = HEAD_BYTES + "three".len();
        for cut in 1..last {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(
                read(),
                [b"one".to_vec(), b"two".to_vec()],
                "{cut} bytes short"
            );
        }
        for at in whole.len() - last..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(), [b"one".to_vec(), b"two".to_vec()], "byte {at}");
        }
        fs::write(&path, [whole, vec![0; 100]].concat()).unwrap();
        assert_eq!(read().len(), 3, "zeros are no record");
    }

    #[test]
    fn the_two_files_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let (mut files, _) = Files::open(&database).unwrap();
        let read = || Files::open(&database).unwrap().1;
        files.tail().append(b"one").unwrap();
        files.switch().unwrap();
        assert!(files.tail().is_empty());
        files.tail().append(b"two").unwrap();
        assert_eq!(read(), [b"one".to_vec(), b"two".to_vec()]);
        files.switch().unwrap();
        assert_eq!(read(), [b"two".to_vec()]);
        files.tail().append(b"three").unwrap();
        assert_eq!(read(), [b"three".to_vec(), b"two".to_vec()]);
        files.remove();
        assert!(read().is_empty());
    }
}

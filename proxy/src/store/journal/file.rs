//! The two files that the journal is written to in turn: one takes new records
//! while the other's are folded, and is then emptied.
//!
//! A record is its length and its checksum, four bytes each, and its content. One
//! that a crash has cut short ends its file: nobody was told that it is there.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

const HEAD_BYTES: usize = 8;

#[derive(Debug)]
pub(super) struct Files {
    paths: [PathBuf; 2],
    current: usize,
    file: Arc<Kept>,
    /// The other one, until the tables have what is in it.
    before: Option<Arc<Kept>>,
    /// Of the file that takes new records.
    length: u64,
    /// The disk has not been asked to keep all of it.
    is_behind: bool,
    /// Records that no file has yet, as they will stand there.
    waiting: Vec<u8>,
    /// Whether there are any, for whoever does not hold the files.
    has_waiting: Arc<AtomicBool>,
}

/// A file that the disk is asked to keep. Of an error the system tells whoever asks
/// first, and nobody after: it is remembered here.
#[derive(Debug)]
struct Kept {
    file: File,
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
            file: Arc::new(Kept::new(file)),
            before: None,
            length,
            is_behind: false,
            waiting: Vec::new(),
            has_waiting: Arc::default(),
        };
        Ok((files, records))
    }

    /// Whether records wait, from now on.
    pub(super) fn watched(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_waiting)
    }

    /// Takes a record that [`Files::write`] will write, or the next one's
    /// [`Files::append`].
    pub(super) fn defer(&mut self, content: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let length = u32::try_from(content.len()).map_err(too_long)?;
        self.waiting.reserve(HEAD_BYTES + content.len());
        self.waiting.extend_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(content);
        self.waiting.extend_from_slice(&checksum.to_le_bytes());
        self.waiting.extend_from_slice(content);
        self.has_waiting.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes a record, behind those that wait. When it fails, they wait on.
    pub(super) fn append(&mut self, content: &[u8]) -> io::Result<()> {
        let before = self.waiting.len();
        self.defer(content)?;
        let written = self.write();
        if written.is_err() {
            self.waiting.truncate(before);
            self.has_waiting.store(before > 0, Ordering::Release);
        }
        written
    }

    /// Writes what waits. It outlives this process from here on, and a power cut once
    /// what is [`Files::unsynced`] is on the disk. After an error nobody knows what is
    /// in the file: it takes no more until it has been emptied.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        (&self.file.file).write_all(&self.waiting)?;
        self.written();
        Ok(())
    }

    fn written(&mut self) {
        self.length += self.waiting.len() as u64;
        self.is_behind |= !self.waiting.is_empty();
        self.waiting.clear();
        self.has_waiting.store(false, Ordering::Release);
    }

    /// What the disk may not keep yet: the caller waits for it.
    pub(super) fn unsynced(&mut self) -> Option<Unsynced> {
        let is_behind = std::mem::take(&mut self.is_behind);
        (is_behind || self.before.is_some()).then(|| self.all())
    }

    /// All that is in the files now.
    pub(super) fn all(&self) -> Unsynced {
        Unsynced {
            before: self.before.clone(),
            current: Arc::clone(&self.file),
        }
    }

    /// Whether it is what takes new records.
    pub(super) fn is_current(&self, unsynced: &Unsynced) -> bool {
        Arc::ptr_eq(&self.file, &unsynced.current)
    }

    /// The tables have what is in the other file.
    pub(super) fn forget_before(&mut self) {
        self.before = None;
    }

    /// From here on the other file takes the records, emptied, and those that wait.
    pub(super) fn switch(&mut self) -> io::Result<()> {
        let other = 1 - self.current;
        let mut file = open(&self.paths[other])?;
        file.set_len(0)?;
        file.write_all(&self.waiting)?;
        let file = Arc::new(Kept::new(file));
        self.before = Some(std::mem::replace(&mut self.file, file));
        self.current = other;
        (self.length, self.is_behind) = (0, false);
        self.written();
        Ok(())
    }

    /// The next record does not reach the disk.
    #[cfg(test)]
    pub(super) fn break_for_a_test(&mut self) {
        let file = File::open(&self.paths[self.current]).unwrap();
        self.file = Arc::new(Kept::new(file));
    }

    /// What is written goes nowhere, and no disk keeps it. The answer reads it.
    #[cfg(test)]
    pub(super) fn lose_for_a_test(&mut self) -> io::PipeReader {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        self.file = Arc::new(Kept::new(file));
        reader
    }

    /// Whether the file that takes new records has none, and gets none.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0 && self.waiting.is_empty()
    }

    /// Everything in them is in the tables, and they go on.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        for path in &self.paths {
            File::options().write(true).open(path)?.set_len(0)?;
        }
        (self.length, self.is_behind) = (0, false);
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
    /// Waits for the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut files = self.before.iter().chain([&self.current]);
        files.try_for_each(|file| file.sync())
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
        let (mut files, found) = Files::open(&database).unwrap();
        assert!(found.is_empty());
        for content in ["one", "two", "three"] {
            files.append(content.as_bytes()).unwrap();
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
        files.append(b"one").unwrap();
        files.switch().unwrap();
        assert!(files.is_empty());
        files.append(b"two").unwrap();
        assert_eq!(read(), [b"one".to_vec(), b"two".to_vec()]);
        files.switch().unwrap();
        assert_eq!(read(), [b"two".to_vec()]);
        files.append(b"three").unwrap();
        assert_eq!(read(), [b"three".to_vec(), b"two".to_vec()]);
        files.remove();
        assert!(read().is_empty());
    }
}

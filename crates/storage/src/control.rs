//! The control store: small facts that change in transactions (topics, subjects, catalog, pipelines).
//!
//! Owns: the redb database, behind the disk seam; one table per [`Space`].
//! Does not own: the meaning of keys and values (each owner keeps its own space).
//! Invariants: a transaction is durable when `transact` returns `Ok`, and leaves no trace otherwise; after a failed
//! write or fsync none is tried again; consumer offsets never enter.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use base::{ErrorKind, Fault};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableHandle,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::{DiskFile, OpenMode, SharedDisk};

/// One owner's keys. The spaces are listed in [`crate::layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space(pub &'static str);

/// The control store failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("control store: {0}")]
    Store(#[source] redb::Error),
    #[error("control store: {space}/{key} does not parse")]
    Parse { space: &'static str, key: String, source: serde_json::Error },
    #[error("control store: cannot open {path}")]
    Open { path: String, source: io::Error },
    /// What was synced once does not read back.
    #[error("{path} is damaged: {reason}; restore the newest copy of it")]
    Damaged { path: String, reason: String },
}

impl Fault for ControlError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(redb::Error::Corrupted(_)) | Self::Parse { .. } | Self::Damaged { .. } => {
                ErrorKind::Corrupt
            }
            Self::Store(_) | Self::Open { .. } => ErrorKind::Unavailable,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for ControlError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// The control store. Clones share it. Calls block for about as long as an fsync takes.
#[derive(Debug, Clone)]
pub struct Control {
    database: Arc<Database>,
    failed: Arc<OnceLock<String>>,
}

const CACHE_BYTES: usize = 8 << 20;

fn table(space: Space) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(space.0)
}

impl Control {
    /// Opens the store in the file `path`, making it when missing.
    pub fn open(disk: &SharedDisk, path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Open { path: path.display().to_string(), source };
        if !disk.exists(path) {
            Self::make(disk, path)?;
        }
        let file = disk.open(path, OpenMode::ReadWrite).map_err(failed)?;
        let damaged = |reason| ControlError::Damaged { path: path.display().to_string(), reason };
        // The store takes bytes for granted that another program changed: what it says then is a panic at times.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Self::load(file))) {
            Ok(Ok(database)) => Ok(Self { database: Arc::new(database), failed: Arc::default() }),
            Ok(Err(redb::Error::Corrupted(reason))) => Err(damaged(reason)),
            Ok(Err(redb::Error::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Err(damaged(error.to_string()))
            }
            Ok(Err(redb::Error::Io(error))) => Err(failed(error)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(damaged("its pages do not fit together".into())),
        }
    }

    /// Opens the database and compares all its pages with their checksums.
    fn load(file: Arc<dyn DiskFile>) -> Result<Database, redb::Error> {
        let mut database =
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend(file))?;
        database.check_integrity()?;
        let known: HashSet<String> = {
            let read = database.begin_read()?;
            let tables = read.list_tables()?;
            tables.map(|table| table.name().to_owned()).collect()
        };
        // Nothing is written at a start that need not be: it may be one without a free byte.
        if crate::layout::SPACES.iter().all(|space| known.contains(space.0)) {
            return Ok(database);
        }
        let mut spaces = database.begin_write()?;
        spaces.set_quick_repair(true);
        for space in crate::layout::SPACES {
            spaces.open_table(table(*space))?;
        }
        spaces.commit()?;
        Ok(database)
    }

    /// A new database is written aside and renamed once it is whole: a power cut within the first open must not
    /// leave half a header that no later start accepts.
    fn make(disk: &SharedDisk, path: &Path) -> Result<(), ControlError> {
        let failed = |source| ControlError::Open { path: path.display().to_string(), source };
        let aside = path.with_extension("new");
        let file = disk.open(&aside, OpenMode::Create).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        drop(Database::builder().create_with_backend(Backend(Arc::clone(&file)))?);
        file.sync_data()
            .and_then(|()| disk.rename(&aside, path))
            .and_then(|()| path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir)))
            .map_err(failed)
    }

    /// The bytes under a key.
    pub fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, ControlError> {
        let tx = self.database.begin_read()?;
        Ok(tx.open_table(table(space))?.get(key)?.map(|v| v.value().to_vec()))
    }

    /// The JSON value under a key.
    pub fn get_json<T: DeserializeOwned>(&self, space: Space, key: &str) -> Result<Option<T>, ControlError> {
        self.get(space, key)?.map(|bytes| parse(space, key, &bytes)).transpose()
    }

    /// All keys that begin with `prefix`, in order, with their values.
    pub fn scan(&self, space: Space, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ControlError> {
        let tx = self.database.begin_read()?;
        collect(&tx.open_table(table(space))?, prefix)
    }

    /// Like [`Control::scan`], parsed as JSON.
    pub fn scan_json<T: DeserializeOwned>(
        &self,
        space: Space,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, ControlError> {
        self.scan(space, prefix)?
            .into_iter()
            .map(|(key, bytes)| parse(space, &key, &bytes).map(|value| (key, value)))
            .collect()
    }

    /// Runs `work` in the one write transaction there can be; `Ok` is durable, `Err` undoes everything.
    pub fn transact<T, E: From<ControlError>>(
        &self,
        work: impl FnOnce(&mut ControlTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let outcome = self.transact_unnoted(work);
        if let Err(Attempt::Store(error)) = &outcome
            && let ControlError::Store(redb::Error::Io(_) | redb::Error::PreviousIo) = error
        {
            self.failed.get_or_init(|| base::fault::chain(error));
        }
        outcome.map_err(|attempt| match attempt {
            Attempt::Work(error) => error,
            Attempt::Store(error) => error.into(),
        })
    }

    fn transact_unnoted<T, E>(
        &self,
        work: impl FnOnce(&mut ControlTx) -> Result<T, E>,
    ) -> Result<T, Attempt<E>> {
        let mut inner = self.database.begin_write().map_err(ControlError::from)?;
        inner.set_durability(Durability::Immediate).map_err(ControlError::from)?;
        inner.set_quick_repair(true);
        let mut tx = ControlTx(inner);
        let value = work(&mut tx).map_err(Attempt::Work)?;
        tx.0.commit().map_err(ControlError::from)?;
        Ok(value)
    }

    /// Set once a write or an fsync of the store failed: nothing can be stored any more until it is opened again.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }
}

/// Which side a transaction failed on.
enum Attempt<E> {
    Work(E),
    Store(ControlError),
}

impl<E> From<ControlError> for Attempt<E> {
    fn from(error: ControlError) -> Self {
        Self::Store(error)
    }
}

/// A write transaction: reads see its own writes.
pub struct ControlTx(redb::WriteTransaction);

impl std::fmt::Debug for ControlTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlTx")
    }
}

impl ControlTx {
    pub fn get(&self, space: Space, key: &str) -> Result<Option<Vec<u8>>, ControlError> {
        Ok(self.0.open_table(table(space))?.get(key)?.map(|v| v.value().to_vec()))
    }

    pub fn get_json<T: DeserializeOwned>(&self, space: Space, key: &str) -> Result<Option<T>, ControlError> {
        self.get(space, key)?.map(|bytes| parse(space, key, &bytes)).transpose()
    }

    pub fn scan(&self, space: Space, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ControlError> {
        collect(&self.0.open_table(table(space))?, prefix)
    }

    pub fn put(&mut self, space: Space, key: &str, value: &[u8]) -> Result<(), ControlError> {
        self.0.open_table(table(space))?.insert(key, value)?;
        Ok(())
    }

    pub fn put_json<T: Serialize>(&mut self, space: Space, key: &str, value: &T) -> Result<(), ControlError> {
        let bytes = serde_json::to_vec(value).map_err(|source| ControlError::Parse {
            space: space.0,
            key: key.to_owned(),
            source,
        })?;
        self.put(space, key, &bytes)
    }

    /// Returns whether the key was there.
    pub fn delete(&mut self, space: Space, key: &str) -> Result<bool, ControlError> {
        Ok(self.0.open_table(table(space))?.remove(key)?.is_some())
    }
}

fn collect(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>, ControlError> {
    let mut found = Vec::new();
    for item in table.range::<&str>(prefix..)? {
        let (key, value) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_owned(), value.value().to_vec()));
    }
    Ok(found)
}

fn parse<T: DeserializeOwned>(space: Space, key: &str, bytes: &[u8]) -> Result<T, ControlError> {
    serde_json::from_slice(bytes).map_err(|source| ControlError::Parse {
        space: space.0,
        key: key.to_owned(),
        source,
    })
}

/// redb on one file of the disk seam.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let got = self.0.read_at(offset, out)?;
        if got < out.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "control store is cut short"));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::layout;

    #[test]
    fn transactions_are_whole() {
        let dir = crate::directory::tests::temporary();
        let disk: SharedDisk = Arc::new(RealDisk);
        let path = dir.path().join("control.redb");
        {
            let control = Control::open(&disk, &path).expect("open");
            control
                .transact::<_, ControlError>(|tx| {
                    tx.put(layout::TOPICS, "a/1", b"x")?;
                    tx.put(layout::TOPICS, "a/2", b"y")?;
                    tx.put(layout::TOPICS, "b/1", b"z")
                })
                .expect("commit");
            let refused = control.transact::<(), ControlError>(|tx| {
                tx.put(layout::TOPICS, "a/3", b"lost")?;
                Err(ControlError::Open { path: "refused".into(), source: io::Error::other("x") })
            });
            assert!(refused.is_err());
        }
        let control = Control::open(&disk, &path).expect("reopen");
        let keys: Vec<_> =
            control.scan(layout::TOPICS, "a/").expect("scan").into_iter().map(|(k, _)| k).collect();
        assert_eq!(keys, ["a/1", "a/2"]);
        assert_eq!(control.get(layout::SUBJECTS, "a/1").expect("get"), None);
    }
    /// A changed byte is found when the store opens, or it was one that nothing stands in.
    #[test]
    fn a_changed_byte_is_told_with_the_file_or_harmless() {
        let dir = crate::directory::tests::temporary();
        let disk: SharedDisk = Arc::new(RealDisk);
        let path = dir.path().join("control.redb");
        let values: Vec<(String, Vec<u8>)> =
            (0..300).map(|n| (format!("k/{n:03}"), vec![n as u8; 100])).collect();
        Control::open(&disk, &path)
            .expect("open")
            .transact::<_, ControlError>(|tx| {
                values.iter().try_for_each(|(k, v)| tx.put(layout::TOPICS, k, v))
            })
            .expect("commit");
        let whole = std::fs::read(&path).expect("read");
        let mut found = 0;
        for position in (0..whole.len()).step_by(977) {
            let mut bytes = whole.clone();
            bytes[position] ^= 0xff;
            std::fs::write(&path, bytes).expect("damage");
            match Control::open(&disk, &path) {
                Ok(control) => assert_eq!(control.scan(layout::TOPICS, "k/").expect("scan"), values),
                Err(error) => {
                    assert!(error.to_string().contains("control.redb is damaged"), "{position}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    found += 1;
                }
            }
        }
        assert!(found > 5, "{found}");
    }
}

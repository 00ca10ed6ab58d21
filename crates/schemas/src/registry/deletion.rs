//! Deleting: first softly, then for good.
//!
//! Owns: what may be deleted, in which order.
//! Invariants: what another schema refers to stays.

use storage::layout::SUBJECTS;

use super::settings::{Mode, mode_in_scope};
use super::{Book, Entry, Registry, RegistryError, StoredVersion, Version};

impl Registry {
    /// Soft delete, or the permanent one that must follow it. Returns the deleted versions.
    pub fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<i32>, RegistryError> {
        let _one_at_a_time = self.shared.changing.lock();
        self.check_writable(subject)?;
        let (entries, live) = self.book(|book| {
            let entries: Vec<Entry> = book.entries(subject).collect();
            let live: Vec<Entry> = book.live(subject).collect();
            live.iter().try_for_each(|entry| self.check_unreferenced(book, subject, entry.version))?;
            Ok::<_, RegistryError>((entries, live))
        })?;
        if entries.is_empty() {
            return Err(self.subject_not_found(subject));
        }
        match (permanent, live.is_empty()) {
            (false, true) => Err(RegistryError::SoftDeleted { subject: self.full_name(subject) }),
            (true, false) => Err(RegistryError::NotSoftDeleted { subject: self.full_name(subject) }),
            (false, false) => self.delete(subject, &live, false),
            (true, true) => self.delete(subject, &entries, true),
        }
    }

    /// Deletes one version, softly or for good; the latter only after the former. Returns the deleted version.
    pub fn delete_version(
        &self,
        subject: &str,
        version: Version,
        permanent: bool,
    ) -> Result<i32, RegistryError> {
        let _one_at_a_time = self.shared.changing.lock();
        self.check_writable(subject)?;
        let entry = self.book(|book| {
            let last = book.live(subject).last().or_else(|| book.entries(subject).last());
            let last = last.ok_or_else(|| self.subject_not_found(subject))?;
            let entry = match version {
                Version::Latest => last,
                Version::Number(number) => book
                    .entries(subject)
                    .find(|e| e.version == number)
                    .ok_or_else(|| self.version_not_found(subject, number))?,
            };
            self.check_unreferenced(book, subject, entry.version).map(|()| entry)
        })?;
        let (name, version) = (self.full_name(subject), entry.version);
        match (permanent, entry.deleted) {
            (false, true) => Err(RegistryError::VersionSoftDeleted { subject: name, version }),
            (true, false) => Err(RegistryError::VersionNotSoftDeleted { subject: name, version }),
            _ => self.delete(subject, &[entry], permanent).map(|_| version),
        }
    }

    /// Deletes entries in one transaction; the caller holds `changing`.
    fn delete(&self, subject: &str, entries: &[Entry], permanent: bool) -> Result<Vec<i32>, RegistryError> {
        let stored: Vec<StoredVersion> = entries
            .iter()
            .map(|e| StoredVersion {
                subject: subject.to_owned(),
                version: e.version,
                id: e.id,
                deleted: true,
            })
            .collect();
        self.shared.control.transact::<_, RegistryError>(|tx| {
            for version in &stored {
                if permanent {
                    tx.delete(SUBJECTS, &version.key(&self.context))?;
                } else {
                    tx.put_json(SUBJECTS, &version.key(&self.context), version)?;
                }
            }
            Ok(())
        })?;
        let versions = stored.iter().map(|v| v.version).collect();
        let mut books = self.shared.books.write();
        let book = books.of_mut(&self.context);
        for version in stored {
            if permanent { book.remove(&version.subject, version.version) } else { book.put(version) }
        }
        drop(books);
        self.announce();
        Ok(versions)
    }

    fn check_writable(&self, subject: &str) -> Result<(), RegistryError> {
        let mode = mode_in_scope(&self.shared.books.read(), &self.context, subject);
        if matches!(mode, Mode::ReadOnly | Mode::ReadOnlyOverride) {
            let reason = format!("Subject {} is in read-only mode", self.full_name(subject));
            return Err(RegistryError::NotPermitted { reason });
        }
        Ok(())
    }

    fn check_unreferenced(&self, book: &Book, subject: &str, version: i32) -> Result<(), RegistryError> {
        match book.referrer(subject, version) {
            None => Ok(()),
            Some(by) => Err(RegistryError::ReferenceExists { subject: self.full_name(subject), version, by }),
        }
    }
}

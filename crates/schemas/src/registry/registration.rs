//! Registering and looking up.
//!
//! Owns: the order: mode, validity, what is there already, compatibility, the next id and version.
//! Does not own: the rules of compatibility (`compatibility`), of validity (`validity`).
//! Invariants: what is there already is found before compatibility is asked for; a schema with an id is taken in IMPORT
//! mode only, and never changes what an id or version stands for.

use std::sync::Arc;

use base::SchemaId;
use storage::layout::SUBJECTS;

use super::book::{Book, Known, StoredVersion, id_key};
use super::settings::{Mode, config_in_scope, mode_in_scope};
use super::{
    Annotations, NewSchema, Registry, RegistryError, ResolvedSchema, SubjectConfig, SubjectVersion, Version,
    check_subject, forms, identity, resolved,
};
use crate::compatibility::{self, Compatibility};
use crate::validity;

/// A schema to be registered, with all that can be said about it.
#[derive(Debug, Clone)]
pub struct Registration {
    pub schema: NewSchema,
    pub annotations: Annotations,
    /// In IMPORT mode: the id that it has.
    pub id: Option<SchemaId>,
    /// In IMPORT mode: the version that it has.
    pub version: Option<i32>,
    /// Register the normal form of the text.
    pub normalize: bool,
    /// Made by this node or its configuration, which own what they describe: bound by levels of compatibility that
    /// somebody has set, not by the built-in one.
    pub own: bool,
}

impl From<NewSchema> for Registration {
    fn from(schema: NewSchema) -> Self {
        Self { own: true, ..Self::of_client(schema) }
    }
}

impl Registration {
    /// A schema as a client registers it.
    pub fn of_client(schema: NewSchema) -> Self {
        Self {
            schema,
            annotations: Annotations::default(),
            id: None,
            version: None,
            normalize: false,
            own: false,
        }
    }
}

/// A schema that passed all checks.
struct Checked {
    /// Its id is not known yet.
    resolved: ResolvedSchema,
    /// What its references stand for.
    referenced: Vec<SchemaId>,
    /// What makes two schemas the same.
    identity: u128,
}

impl Registry {
    /// Registers, or finds what is registered already. Durable on return.
    pub fn register(
        &self,
        subject: &str,
        registration: impl Into<Registration>,
    ) -> Result<SubjectVersion, RegistryError> {
        let mut registration = registration.into();
        check_subject(subject)?;
        let config = config_in_scope(&self.shared.books.read(), &self.context, subject);
        if registration.normalize || config.normalize == Some(true) {
            registration.schema = forms::normal(registration.schema)?;
        }
        let checked = self.check(&registration)?;
        let _one_at_a_time = self.shared.changing.lock();
        self.check_room()?;
        let (known, version) = {
            let books = self.shared.books.read();
            let book = books.of(&self.context);
            let references = &registration.schema.references;
            if book.referenced(&self.context, references)? != checked.referenced {
                let reason = "what it refers to was registered anew meanwhile: register it again".into();
                return Err(RegistryError::InvalidSchema { reason });
            }
            let mode = mode_in_scope(&books, &self.context, subject);
            if let Some(found) = self.registered(book, subject, &checked, &registration, mode)? {
                return Ok(found);
            }
            self.check_mode(subject, mode, registration.id)?;
            if mode != Mode::Import {
                self.compare(book, subject, &checked, &registration, &config)?;
            }
            self.place(book, subject, checked, &registration)?
        };
        self.store(subject, version, known)
    }

    /// Checks a schema as `register` does and finds what it refers to, but registers nothing. Its id is 0.
    pub fn candidate(&self, schema: NewSchema) -> Result<ResolvedSchema, RegistryError> {
        self.check(&schema.into()).map(|checked| checked.resolved)
    }

    /// Finds a schema under a subject without registering it.
    pub fn lookup(&self, subject: &str, schema: &NewSchema) -> Result<SubjectVersion, RegistryError> {
        self.lookup_among(subject, &Registration::of_client(schema.clone()), false)
    }

    /// Finds a schema under a subject, among its soft-deleted versions too when asked.
    pub fn lookup_among(
        &self,
        subject: &str,
        registration: &Registration,
        deleted_too: bool,
    ) -> Result<SubjectVersion, RegistryError> {
        let books = self.shared.books.read();
        let book = books.of(&self.context);
        let shown = || book.entries(subject).filter(|e| deleted_too || !e.deleted);
        if shown().next().is_none() {
            return Err(self.subject_not_found(subject));
        }
        let NewSchema { schema_type, schema, references } = &registration.schema;
        let referenced = book.referenced(&self.context, references)?;
        let identity =
            identity::of(*schema_type, schema, references, &referenced, &registration.annotations)?;
        let same = |e: &super::Entry| book.known(e.id).is_some_and(|known| known.identity == identity);
        let mut found = shown().filter(same).last();
        let config = config_in_scope(&books, &self.context, subject);
        if found.is_none() && (registration.normalize || config.normalize == Some(true)) {
            let wanted = forms::normal(registration.schema.clone())?.schema;
            found = shown()
                .filter(|e| {
                    book.known(e.id).is_some_and(|known| {
                        known.schema.schema_type == *schema_type
                            && known.referenced == referenced
                            && *known.annotations == registration.annotations
                            && forms::normal_text(*schema_type, &known.schema.schema) == wanted
                    })
                })
                .last();
        }
        match found {
            Some(entry) => self.subject_version(book, subject, entry),
            None => Err(RegistryError::SchemaNotRegistered { subject: self.full_name(subject) }),
        }
    }

    /// What keeps a schema from following the versions of a subject under the level that holds for it; with a version,
    /// from following that one. Nothing where there is none.
    pub fn incompatibilities(
        &self,
        subject: &str,
        registration: Registration,
        against: Option<Version>,
    ) -> Result<Vec<String>, RegistryError> {
        let mut registration = registration;
        let config = config_in_scope(&self.shared.books.read(), &self.context, subject);
        if registration.normalize || config.normalize == Some(true) {
            registration.schema = forms::normal(registration.schema)?;
        }
        let against = match against {
            None => None,
            Some(Version::Latest) if self.versions(subject, false).is_err() => None,
            Some(version) => Some(self.version(subject, version)?.version),
        };
        let checked = self.check(&registration)?;
        let level = config.compatibility.unwrap_or_default();
        self.book(|book| self.differences(book, subject, &checked, &registration, &config, (level, against)))
    }

    /// What the registration asks for, if it is there.
    fn registered(
        &self,
        book: &Book,
        subject: &str,
        checked: &Checked,
        registration: &Registration,
        mode: Mode,
    ) -> Result<Option<SubjectVersion>, RegistryError> {
        let same =
            |e: &super::Entry| book.known(e.id).is_some_and(|known| known.identity == checked.identity);
        let asked = |e: &super::Entry| registration.version.is_none_or(|version| version == e.version);
        let Some(entry) = book.live(subject).find(|e| same(e) && asked(e)) else { return Ok(None) };
        match registration.id {
            Some(id) if id != entry.id && mode == Mode::Import => Err(RegistryError::IdDoesNotMatch {
                reason: format!("Schema already registered with id {} instead of input id {id}", entry.id),
            }),
            _ => self.subject_version(book, subject, entry).map(Some),
        }
    }

    fn check_mode(&self, subject: &str, mode: Mode, id: Option<SchemaId>) -> Result<(), RegistryError> {
        let wanted = match (mode, id) {
            (Mode::ReadWrite, None) | (Mode::Import, Some(_)) => return Ok(()),
            (Mode::ReadOnly | Mode::ReadOnlyOverride, _) => "is in read-only mode",
            (Mode::ReadWrite, Some(_)) => "is not in import mode",
            (Mode::Import, None) => "is not in read-write mode",
        };
        let reason = format!("Subject {} in context {} {wanted}", self.full_name(subject), self.context);
        Err(RegistryError::NotPermitted { reason })
    }

    fn compare(
        &self,
        book: &Book,
        subject: &str,
        checked: &Checked,
        registration: &Registration,
        config: &SubjectConfig,
    ) -> Result<(), RegistryError> {
        let level = match config.compatibility {
            None if registration.own => return Ok(()),
            level => level.unwrap_or_default(),
        };
        let details = self.differences(book, subject, checked, registration, config, (level, None))?;
        if details.is_empty() {
            return Ok(());
        }
        Err(RegistryError::Incompatible { subject: self.full_name(subject), details })
    }

    /// What was found against the first version that does not get along, newest first, and which one that is.
    fn differences(
        &self,
        book: &Book,
        subject: &str,
        checked: &Checked,
        registration: &Registration,
        config: &SubjectConfig,
        (level, against): (Compatibility, Option<i32>),
    ) -> Result<Vec<String>, RegistryError> {
        let group = config.compatibility_group.as_deref();
        let of_group = registration.annotations.property(group);
        let mut before: Vec<_> =
            book.live(subject).filter(|e| against.is_none_or(|v| v == e.version)).collect();
        before
            .retain(|e| book.known(e.id).is_some_and(|known| known.annotations.property(group) == of_group));
        let count = if level.is_transitive() { before.len() } else { 1 };
        for entry in before.into_iter().rev().take(count) {
            let known = book.known(entry.id).ok_or(RegistryError::SchemaNotFound(entry.id))?;
            let old = resolved::resolve(book, known.schema.clone(), &known.referenced)
                .map_err(|reason| RegistryError::InvalidSchema { reason })?;
            let found = compatibility::differences(level, &checked.resolved, &old);
            if !found.is_empty() {
                let mut messages: Vec<String> = found.iter().map(ToString::to_string).collect();
                messages.push(format!("{{oldSchemaVersion: {}}}", entry.version));
                messages.push(format!("{{oldSchema: '{}'}}", known.schema.schema));
                messages.push(format!("{{compatibility: '{}'}}", level.name()));
                return Ok(messages);
            }
        }
        Ok(Vec::new())
    }

    /// The id and version that a new schema gets.
    fn place(
        &self,
        book: &Book,
        subject: &str,
        checked: Checked,
        registration: &Registration,
    ) -> Result<(Known, i32), RegistryError> {
        let permitted = |reason: String| RegistryError::NotPermitted { reason };
        let version = match registration.version {
            Some(version) if registration.id.is_some() => {
                if book.entries(subject).any(|e| e.version == version) {
                    let name = self.full_name(subject);
                    return Err(permitted(format!(
                        "Overwrite version {version} of subject {name} is not permitted."
                    )));
                }
                version
            }
            _ => book
                .last_version(subject)
                .checked_add(1)
                .ok_or_else(|| permitted("no version is left".into()))?,
        };
        let annotations = Arc::new(registration.annotations.clone());
        let known = |id| {
            let schema = Arc::unwrap_or_clone(checked.resolved.schema.clone());
            let schema = Arc::new(super::RegisteredSchema { id, ..schema });
            Known { schema, annotations, referenced: checked.referenced.clone(), identity: checked.identity }
        };
        match registration.id {
            Some(id) => match book.known(id) {
                Some(other) if other.identity != checked.identity => {
                    Err(permitted(format!("Overwrite new schema with id {id} is not permitted.")))
                }
                Some(same) => Ok((same.clone(), version)),
                None => Ok((known(id), version)),
            },
            None => match book.by_identity(checked.identity) {
                Some(same) => Ok((same.clone(), version)),
                None => {
                    let next = book.last_id().checked_add(1);
                    Ok((
                        known(next.ok_or_else(|| permitted("no id is left in this context".into()))?),
                        version,
                    ))
                }
            },
        }
    }

    fn store(&self, subject: &str, version: i32, known: Known) -> Result<SubjectVersion, RegistryError> {
        let id = known.schema.id;
        let stored = StoredVersion { subject: subject.to_owned(), version, id, deleted: false };
        let is_new = self.book(|book| book.known(id).is_none());
        self.shared.control.transact::<_, RegistryError>(|tx| {
            if is_new {
                tx.put_json(SUBJECTS, &id_key(&self.context, id), &known.stored())?;
            }
            Ok(tx.put_json(SUBJECTS, &stored.key(&self.context), &stored)?)
        })?;
        let registered = SubjectVersion {
            subject: self.full_name(subject),
            version,
            schema: known.schema.clone(),
            annotations: known.annotations.clone(),
            deleted: false,
        };
        let mut books = self.shared.books.write();
        let book = books.of_mut(&self.context);
        if is_new {
            book.add_schema(known);
        }
        book.put(stored);
        drop(books);
        self.announce();
        Ok(registered)
    }

    /// Everything that can be wrong with a schema, before any lock is taken for long.
    fn check(&self, registration: &Registration) -> Result<Checked, RegistryError> {
        registration.annotations.check()?;
        if registration.id.is_some_and(|id| id < 1) {
            let reason = "an id is a number from 1".into();
            return Err(RegistryError::InvalidSchema { reason });
        }
        if let Some(version) = registration.version.filter(|version| *version < 1) {
            return Err(RegistryError::InvalidVersion(version.to_string()));
        }
        let NewSchema { schema_type, schema, references } = registration.schema.clone();
        let (identity, referenced, resolved) = self.book(|book| {
            let referenced = book.referenced(&self.context, &references)?;
            let annotations = &registration.annotations;
            let identity = identity::of(schema_type, &schema, &references, &referenced, annotations)?;
            let schema = super::RegisteredSchema { id: 0, schema_type, schema, references };
            let resolved = resolved::resolve(book, Arc::new(schema), &referenced);
            Ok::<_, RegistryError>((identity, referenced, resolved))
        })?;
        let resolved = resolved.and_then(|r| validity::check(&r).map(|()| r));
        let resolved = resolved.map_err(|reason| RegistryError::InvalidSchema { reason })?;
        Ok(Checked { resolved, referenced, identity })
    }
}

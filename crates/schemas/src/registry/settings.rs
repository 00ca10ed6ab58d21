//! What is set for a subject, a context or the whole registry: compatibility and mode.
//!
//! Owns: which setting holds where: the subject's own, else its context's, else the default context's, else the built-in.
//! Does not own: what the settings do (`registration`, `deletion`).
//! Invariants: READONLY_OVERRIDE of the default context goes before everything else.
//! Source: Confluent's `/config` and `/mode`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use storage::layout::SUBJECTS;

use super::book::{Book, Books, settings_key};
use super::contexts::DEFAULT_CONTEXT;
use super::{Registry, RegistryError, SUBJECT_BYTES_MAX, check_subject};
use crate::compatibility::Compatibility;

/// Whether a subject may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    #[default]
    #[serde(rename = "READWRITE")]
    ReadWrite,
    #[serde(rename = "READONLY")]
    ReadOnly,
    /// For the whole registry, whatever subjects say.
    #[serde(rename = "READONLY_OVERRIDE")]
    ReadOnlyOverride,
    /// Schemas come with their ids, and compatibility is not asked for.
    #[serde(rename = "IMPORT")]
    Import,
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_uppercase().as_str() {
            "READWRITE" => Ok(Self::ReadWrite),
            "READONLY" => Ok(Self::ReadOnly),
            "READONLY_OVERRIDE" => Ok(Self::ReadOnlyOverride),
            "IMPORT" => Ok(Self::Import),
            _ => Err(()),
        }
    }
}

/// What was set; what is none was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<Compatibility>,
    /// Whether schemas are registered and looked up in their normal form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// The subject that this name stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Only versions with the same value of this metadata property are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility_group: Option<String>,
}

/// A change of settings: what is none stays as it is.
pub type ConfigChange = SubjectConfig;

impl SubjectConfig {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This one, and where it says nothing the other.
    fn or(self, other: &Self) -> Self {
        Self {
            compatibility: self.compatibility.or(other.compatibility),
            normalize: self.normalize.or(other.normalize),
            alias: self.alias.or_else(|| other.alias.clone()),
            compatibility_group: self.compatibility_group.or_else(|| other.compatibility_group.clone()),
        }
    }
}

/// Settings as they are stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct StoredSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<SubjectConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<Mode>,
}

impl StoredSettings {
    pub(super) fn is_empty(&self) -> bool {
        self.config.is_none() && self.mode.is_none()
    }
}

/// The settings that hold for a subject, without the built-in default of the level.
pub(super) fn config_in_scope(books: &Books, context: &str, subject: &str) -> SubjectConfig {
    let mut config = SubjectConfig::default();
    for found in scope(books, context, subject).filter_map(|(book, name)| book.config(name)) {
        config = config.or(found);
    }
    // An alias is a name's own.
    config.alias = books.of(context).config(subject).and_then(|own| own.alias.clone());
    config
}

/// The mode that holds for a subject.
pub(super) fn mode_in_scope(books: &Books, context: &str, subject: &str) -> Mode {
    if books.of(DEFAULT_CONTEXT).mode("") == Some(Mode::ReadOnlyOverride) {
        return Mode::ReadOnlyOverride;
    }
    scope(books, context, subject).find_map(|(book, name)| book.mode(name)).unwrap_or_default()
}

/// Where settings of a subject are looked for, in that order.
fn scope<'a>(
    books: &'a Books,
    context: &'a str,
    subject: &'a str,
) -> impl Iterator<Item = (&'a Book, &'a str)> {
    let own = books.of(context);
    [(own, subject), (own, ""), (books.of(DEFAULT_CONTEXT), "")].into_iter()
}

impl Registry {
    /// What was set for a subject itself, or with an empty one for the context.
    pub fn config(&self, subject: &str) -> Option<SubjectConfig> {
        self.book(|book| book.config(subject).cloned())
    }

    /// What holds for a subject, or with an empty one in the context.
    pub fn effective_config(&self, subject: &str) -> SubjectConfig {
        let mut config = config_in_scope(&self.shared.books.read(), &self.context, subject);
        config.compatibility = Some(config.compatibility.unwrap_or_default());
        config
    }

    /// Sets what the change names.
    pub fn set_config(&self, subject: &str, change: ConfigChange) -> Result<(), RegistryError> {
        let texts = [&change.alias, &change.compatibility_group];
        if texts.into_iter().flatten().any(|text| text.len() > SUBJECT_BYTES_MAX) {
            let reason = format!("a setting is longer than {SUBJECT_BYTES_MAX} bytes");
            return Err(RegistryError::InvalidSubject { reason });
        }
        self.change(subject, |settings| {
            let config = change.or(&settings.config.clone().unwrap_or_default());
            settings.config = Some(config).filter(|config| !config.is_empty());
            Ok(())
        })
    }

    /// Takes back what was set for a subject or the context, and returns it.
    pub fn delete_config(&self, subject: &str) -> Result<SubjectConfig, RegistryError> {
        let mut before = None;
        self.change(subject, |settings| {
            before = settings.config.take();
            Ok(())
        })?;
        match before {
            Some(before) => Ok(before),
            None if subject.is_empty() => Ok(self.effective_config("")),
            None => Err(self.subject_not_found(subject)),
        }
    }

    /// The mode that was set for a subject itself, or with an empty one for the context.
    pub fn mode(&self, subject: &str) -> Option<Mode> {
        self.book(|book| book.mode(subject))
    }

    /// The mode that holds for a subject, or with an empty one in the context.
    pub fn effective_mode(&self, subject: &str) -> Mode {
        mode_in_scope(&self.shared.books.read(), &self.context, subject)
    }

    /// Sets the mode. IMPORT needs an empty subject or context, or `force`.
    pub fn set_mode(&self, subject: &str, mode: Mode, force: bool) -> Result<(), RegistryError> {
        if mode == Mode::ReadOnlyOverride && !(subject.is_empty() && &*self.context == DEFAULT_CONTEXT) {
            let reason = "READONLY_OVERRIDE is a mode of the whole registry".to_owned();
            return Err(RegistryError::NotPermitted { reason });
        }
        let has_schemas = self.book(|book| match subject {
            "" => !book.subjects(false).is_empty(),
            subject => book.live(subject).next().is_some(),
        });
        if mode == Mode::Import && !force && has_schemas && self.effective_mode(subject) != Mode::Import {
            return Err(RegistryError::NotPermitted {
                reason: "Cannot import since found existing subjects: delete them, or set force=true".into(),
            });
        }
        self.change(subject, |settings| {
            settings.mode = Some(mode);
            Ok(())
        })
    }

    /// Takes back the mode of a subject or context, and returns it.
    pub fn delete_mode(&self, subject: &str) -> Result<Mode, RegistryError> {
        let mut before = None;
        self.change(subject, |settings| {
            before = settings.mode.take();
            Ok(())
        })?;
        match before {
            Some(before) => Ok(before),
            None if subject.is_empty() => Ok(Mode::default()),
            None => Err(self.subject_not_found(subject)),
        }
    }

    /// The subject that a name stands for.
    pub fn aliased(&self, subject: &str) -> String {
        let alias = self.book(|book| book.config(subject).and_then(|config| config.alias.clone()));
        alias.unwrap_or_else(|| subject.to_owned())
    }

    fn change(
        &self,
        subject: &str,
        work: impl FnOnce(&mut StoredSettings) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        if !subject.is_empty() {
            check_subject(subject)?;
        }
        let _one_at_a_time = self.shared.changing.lock();
        let before = self.book(|book| book.settings(subject).cloned()).unwrap_or_default();
        let mut settings = before.clone();
        work(&mut settings)?;
        if settings.is_empty() && before.is_empty() {
            return Ok(());
        }
        self.check_room()?;
        let key = settings_key(&self.context, subject);
        self.shared.control.transact::<_, RegistryError>(|tx| {
            if settings.is_empty() {
                tx.delete(SUBJECTS, &key)?;
            } else {
                tx.put_json(SUBJECTS, &key, &settings)?;
            }
            Ok(())
        })?;
        self.shared.books.write().of_mut(&self.context).set(subject, settings);
        self.announce();
        Ok(())
    }
}

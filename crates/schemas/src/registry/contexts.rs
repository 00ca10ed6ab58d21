//! Contexts: registries beside each other, each with subjects and ids of its own.
//!
//! Owns: the qualified names of subjects (`:.context:subject`); which contexts there are.
//! Does not own: what is in them.
//! Source: Confluent's "Schema Contexts".

use storage::layout::SUBJECTS;

use super::{CONTEXTS_MAX, Registry, RegistryError, book};

/// The context that is meant when none is named.
pub const DEFAULT_CONTEXT: &str = ".";
/// Longest name of a context, in bytes.
const CONTEXT_BYTES_MAX: usize = 128;

/// Takes a qualified name apart: its context, if it has one, and the rest.
pub(super) fn split(name: &str) -> (Option<&str>, &str) {
    match name.strip_prefix(':').filter(|rest| rest.starts_with('.')).and_then(|rest| rest.split_once(':')) {
        Some((context, subject)) => (Some(context), subject),
        None => (None, name),
    }
}

fn check(context: &str) -> Result<(), RegistryError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if context.starts_with('.') && context.len() <= CONTEXT_BYTES_MAX && context.chars().all(allowed) {
        return Ok(());
    }
    let shown: String = context.chars().take(CONTEXT_BYTES_MAX).collect();
    Err(RegistryError::InvalidSubject {
        reason: format!(
            "`{shown}` is no context: a context begins with a dot and has up to {CONTEXT_BYTES_MAX} letters, digits, `.`, `-` and `_`"
        ),
    })
}

impl Registry {
    /// The registry seen from a context; the name may lack its dot.
    pub fn in_context(&self, context: &str) -> Result<Self, RegistryError> {
        let context = if context.starts_with('.') { context.to_owned() } else { format!(".{context}") };
        check(&context)?;
        Ok(Self { shared: self.shared.clone(), context: context.into() })
    }

    /// The context and the bare subject that a name stands for: `:.context:subject`, or a subject of this context. The
    /// subject is empty for `:.context:`, which stands for the whole context.
    pub fn locate<'a>(&self, name: &'a str) -> Result<(Self, &'a str), RegistryError> {
        match split(name) {
            (Some(context), subject) => Ok((self.in_context(context)?, subject)),
            (None, subject) => Ok((self.clone(), subject)),
        }
    }

    /// The context's name.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The qualified name of a subject; in the default context that is the subject itself.
    pub fn full_name(&self, subject: &str) -> String {
        match &*self.context {
            DEFAULT_CONTEXT => subject.to_owned(),
            context => format!(":{context}:{subject}"),
        }
    }

    /// All contexts, sorted; the default one is always there.
    pub fn contexts(&self) -> Vec<String> {
        self.shared.books.read().contexts()
    }

    /// Forgets an empty context: its ids and settings go.
    pub fn delete_context(&self) -> Result<(), RegistryError> {
        let _one_at_a_time = self.shared.changing.lock();
        let context = self.context.to_string();
        if context == DEFAULT_CONTEXT {
            let reason = "The default context cannot be deleted".to_owned();
            return Err(RegistryError::NotPermitted { reason });
        }
        if !self.shared.books.read().contexts().contains(&context) {
            return Err(RegistryError::ContextNotFound(context));
        }
        if !self.subjects(true).is_empty() {
            return Err(RegistryError::ContextNotEmpty(context));
        }
        let keys = self.shared.control.scan(SUBJECTS, &book::context_prefix(&context))?;
        self.shared.control.transact::<_, RegistryError>(|tx| {
            for (key, _) in &keys {
                tx.delete(SUBJECTS, key)?;
            }
            Ok(())
        })?;
        self.shared.books.write().forget(&context);
        self.announce();
        Ok(())
    }

    /// Whether something may be put into the context: it exists, or there is room for one more.
    pub(super) fn check_room(&self) -> Result<(), RegistryError> {
        let books = self.shared.books.read();
        if books.has(&self.context) || books.count() < CONTEXTS_MAX {
            return Ok(());
        }
        let reason = format!("there are {CONTEXTS_MAX} contexts already: delete empty ones");
        Err(RegistryError::NotPermitted { reason })
    }
}

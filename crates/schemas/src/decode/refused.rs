//! Why a value is no row.
//!
//! Owns: the reason while it travels up to the record, gathering the path to the field.
//! Does not own: what the dead-letter table makes of it.

use super::RejectCode;

/// What became of one value.
pub(super) type Fit<T = ()> = Result<T, Box<Refused>>;

/// Why a record is refused, and where in it.
#[derive(Debug)]
pub(super) struct Refused {
    code: RejectCode,
    /// Field names from the root, as far as they are known; malformed text has none.
    path: String,
    message: String,
}

impl Refused {
    #[cold]
    pub(super) fn new(code: RejectCode, message: String) -> Box<Self> {
        Box::new(Self { code, path: String::new(), message })
    }

    /// Says in which field it happened; for text that does not parse the byte position says it better.
    pub(super) fn within(mut self: Box<Self>, prepend: impl FnOnce(&mut String)) -> Box<Self> {
        if self.code == RejectCode::SchemaMismatch {
            prepend(&mut self.path);
        }
        self
    }

    pub(super) fn into_parts(self: Box<Self>) -> (RejectCode, String) {
        let Self { code, path, message } = *self;
        (code, if path.is_empty() { message } else { format!("field `{path}`: {message}") })
    }
}

#[cold]
pub(super) fn mismatch(message: String) -> Box<Refused> {
    Refused::new(RejectCode::SchemaMismatch, message)
}

#[cold]
pub(super) fn too_large(message: String) -> Box<Refused> {
    Refused::new(RejectCode::TooLarge, message)
}

/// For bytes that do not parse.
#[cold]
pub(super) fn malformed(message: String) -> Box<Refused> {
    Refused::new(RejectCode::Malformed, message)
}

/// Puts a field's name before a path.
pub(super) fn prepend(path: &mut String, name: &str) {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    path.insert_str(0, dot);
    path.insert_str(0, name);
}

/// Puts an item's index before a path.
pub(super) fn prepend_index(path: &mut String, index: usize) {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    path.insert_str(0, &format!("[{index}]{dot}"));
}

//! The kinds of fault.
//!
//! Owns: what the caller of a failed operation should do, in seven words.
//! Does not own: messages (each operation's error has its own) and protocol codes (each door maps kinds to its own).

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will stay wrong: change it.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// The thing exists already or has changed meanwhile: look again.
    Conflict,
    /// Somebody newer has taken over: stop.
    Fenced,
    /// Not now: try again later. The outcome may be unknown.
    Unavailable,
    /// Stored bytes are damaged: an operator must look.
    Corrupt,
    /// A defect of this program.
    Internal,
}

/// An error that says what to do about it.
pub trait Fault: std::error::Error {
    /// What the caller should do.
    fn kind(&self) -> ErrorKind;
}

/// An error and its causes in one line, outermost first, without repeats.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

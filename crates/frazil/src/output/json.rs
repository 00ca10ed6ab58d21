//! Answers of a node, which are JSON, as cells.
//!
//! Owns: how a JSON value is shown in a table. Does not own: which values are shown.

use serde_json::Value;

use super::Cell;

/// The elements of an array; none for anything else.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Like [`cell`], with nothing for null.
pub(crate) fn text(value: &Value) -> String {
    cell(value).unwrap_or_default()
}

/// A string as it is, null as NULL, everything else as JSON.
pub(crate) fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

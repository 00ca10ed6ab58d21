//! JSON Schema: differences as sentences.
//!
//! Owns: the wording.

use super::Sides;

/// What a difference means at a place of the schema.
pub(super) fn describe(kind: &str, path: &str, sides: Sides) -> String {
    let Sides { reader, writer } = sides;
    let ends = |suffix: &str| kind.ends_with(suffix);
    if kind.contains("_OPEN_CONTENT_MODEL") && kind.contains("PARTIALLY") {
        let change = if kind.contains("REMOVED") { "missing" } else { "added" };
        return format!(
            "The property or item at path '{path}' is {change} in the {reader} schema and does not fit what the other \
             schema says of properties and items that it does not name"
        );
    }
    if ends("ADDED_TO_OPEN_CONTENT_MODEL") {
        return format!(
            "The {reader} schema has a property or item at path '{path}' which is missing in the {writer} schema, whose \
             content model is open: it may have been written with any value"
        );
    }
    if ends("ADDED_TO_UNOPEN_CONTENT_MODEL") {
        return format!(
            "The {reader} schema has a required property at path '{path}' without a default, which is missing in the \
             {writer} schema"
        );
    }
    if ends("REMOVED_FROM_CLOSED_CONTENT_MODEL") {
        return format!(
            "The {reader} schema has a closed content model and is missing a property or item present at path '{path}' in \
             the {writer} schema"
        );
    }
    match kind {
        "TYPE_CHANGED" | "TYPE_NARROWED" | "COMBINED_TYPE_SUBSCHEMAS_CHANGED" | "ENUM_ARRAY_CHANGED" => {
            format!(
                "A type at path '{path}' is different between the {reader} schema and the {writer} schema"
            )
        }
        "ENUM_ARRAY_NARROWED" | "SUM_TYPE_NARROWED" => format!(
            "An array or combined type at path '{path}' has fewer elements in the {reader} schema than in the {writer} \
             schema"
        ),
        "PRODUCT_TYPE_EXTENDED" | "NOT_TYPE_EXTENDED" | "DEPENDENCY_ARRAY_EXTENDED" => format!(
            "An array or combined type at path '{path}' demands more in the {reader} schema than in the {writer} schema"
        ),
        _ if ends("_ADDED") || ends("_REMOVED") => format!(
            "The keyword at path '{path}' in the {reader} schema is not present in the {writer} schema, and narrows it"
        ),
        _ if ends("_INCREASED") || ends("_EXPANDED") => {
            format!(
                "The value at path '{path}' in the {reader} schema is more than its value in the {writer} schema"
            )
        }
        _ if ends("_DECREASED") => {
            format!(
                "The value at path '{path}' in the {reader} schema is less than its value in the {writer} schema"
            )
        }
        _ if ends("_NARROWED") => format!(
            "What may stand beside the named properties or items (path '{path}') is less in the {reader} schema than in \
             the {writer} schema"
        ),
        _ => format!("The value at path '{path}' is different between the {reader} and the {writer} schema"),
    }
}

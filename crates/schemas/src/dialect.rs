//! JSON Schema documents: which draft they are written in, whether they are valid, how they are compiled.
//!
//! Owns: all use of the `jsonschema` crate's settings, so that the registry and the decoder judge alike.
//! Does not own: columns (decode), versions (registry).
//! Invariants: nothing is ever fetched; `format` is an annotation here (the decoder reads those that make types).

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

/// Deepest nesting of a schema document.
const DEPTH_MAX: usize = 64;
/// Steps a backtracking pattern may take on one value before the value counts as not matching.
const BACKTRACK_MAX: usize = 100_000;
/// Compiled size of one pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Parses a schema's text and checks its nesting.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
    if !matches!(value, Value::Object(_) | Value::Bool(_)) {
        return Err("a JSON schema is an object or a boolean".into());
    }
    if deeper_than(&value, DEPTH_MAX) {
        return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
    }
    Ok(value)
}

/// Whether a document is nested deeper than `left` levels.
pub(crate) fn deeper_than(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|v| deeper_than(v, left - 1)),
        Value::Object(members) => left == 0 || members.values().any(|v| deeper_than(v, left - 1)),
        _ => false,
    }
}

/// The draft that `$schema` names; draft-07 when it names none, as Confluent's registry has it.
pub(crate) fn draft_of(schema: &Value) -> Result<Draft, String> {
    let Some(named) = schema.get("$schema") else { return Ok(Draft::Draft7) };
    let named = named.as_str().ok_or("`$schema` is no string")?;
    let bare = named.trim_end_matches('#');
    let bare = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://")).unwrap_or(bare);
    match bare {
        "json-schema.org/draft-04/schema" => Ok(Draft::Draft4),
        "json-schema.org/draft-06/schema" => Ok(Draft::Draft6),
        "json-schema.org/draft-07/schema" => Ok(Draft::Draft7),
        "json-schema.org/draft/2019-09/schema" => Ok(Draft::Draft201909),
        "json-schema.org/draft/2020-12/schema" => Ok(Draft::Draft202012),
        _ => Err(format!(
            "`$schema` names the unknown dialect {named}: use draft-04, -06, -07, 2019-09 or 2020-12"
        )),
    }
}

/// Checks a schema against the meta-schema of its draft.
pub(crate) fn check(schema: &Value, draft: Draft) -> Result<(), String> {
    let checked = match draft {
        Draft::Draft4 => jsonschema::draft4::meta::validate(schema),
        Draft::Draft6 => jsonschema::draft6::meta::validate(schema),
        Draft::Draft7 => jsonschema::draft7::meta::validate(schema),
        Draft::Draft201909 => jsonschema::draft201909::meta::validate(schema),
        _ => jsonschema::draft202012::meta::validate(schema),
    };
    checked.map_err(|e| format!("at {}: {}", pointer(e.instance_path().as_str()), e.masked()))
}

/// Compiles a schema; other documents are found in `others` by the name they are referred to by.
pub(crate) fn compile(
    schema: &Value,
    draft: Draft,
    others: HashMap<String, Value>,
) -> Result<Validator, String> {
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACK_MAX)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(draft)
        .should_validate_formats(false)
        .with_retriever(Referred(others))
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|e| e.to_string())
}

/// A JSON pointer as people read it.
pub(crate) fn pointer(path: &str) -> &str {
    if path.is_empty() { "the root" } else { path }
}

/// The registered documents that a schema refers to.
struct Referred(HashMap<String, Value>);

impl Retrieve for Referred {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let asked = uri.as_str();
        let found = self.0.iter().find(|(name, _)| {
            // A relative name was resolved against the document's base before it came here.
            asked == name.as_str()
                || asked.strip_suffix(name.as_str()).is_some_and(|base| base.ends_with('/'))
        });
        match found {
            Some((_, document)) => Ok(document.clone()),
            None => Err(format!("{asked} is not among the schema's references").into()),
        }
    }
}

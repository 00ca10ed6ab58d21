//! JSON Schema: strings and numbers, and bounds of any kind.
//!
//! Owns: lengths, patterns, limits, multiples.
//! Invariants: bounds may only loosen.

use serde_json::{Map, Value};

use super::Difference;
use super::json::Checker;

impl Checker<'_> {
    pub(super) fn string(
        &self,
        read: &Map<String, Value>,
        written: &Map<String, Value>,
        path: &str,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        found.extend(self.upper(
            read,
            written,
            path,
            "maxLength",
            "MAX_LENGTH_ADDED",
            "MAX_LENGTH_DECREASED",
        ));
        found.extend(self.lower(
            read,
            written,
            path,
            "minLength",
            "MIN_LENGTH_ADDED",
            "MIN_LENGTH_INCREASED",
        ));
        if read.get("pattern").is_some_and(|pattern| written.get("pattern") != Some(pattern)) {
            let kind = if written.contains_key("pattern") { "PATTERN_CHANGED" } else { "PATTERN_ADDED" };
            found.push(self.difference(kind, &format!("{path}/pattern")));
        }
        found
    }

    pub(super) fn number(
        &self,
        read: &Map<String, Value>,
        written: &Map<String, Value>,
        path: &str,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        let bounds = |members| (exclusive(members, "maximum"), exclusive(members, "minimum"));
        let ((read_max, read_min), (sent_max, sent_min)) = (bounds(read), bounds(written));
        let mut report = |differs: Option<&'static str>, keyword: &str| {
            found.extend(differs.map(|kind| self.difference(kind, &format!("{path}/{keyword}"))));
        };
        report(
            beyond(read_max.0, sent_max, 1.0).then_some(added(
                written,
                "maximum",
                ["MAXIMUM_ADDED", "MAXIMUM_DECREASED"],
            )),
            "maximum",
        );
        report(
            beyond_exclusive(read_max.1, sent_max, 1.0).then_some(added(
                written,
                "exclusiveMaximum",
                ["EXCLUSIVE_MAXIMUM_ADDED", "EXCLUSIVE_MAXIMUM_DECREASED"],
            )),
            "exclusiveMaximum",
        );
        report(
            beyond(read_min.0, sent_min, -1.0).then_some(added(
                written,
                "minimum",
                ["MINIMUM_ADDED", "MINIMUM_INCREASED"],
            )),
            "minimum",
        );
        report(
            beyond_exclusive(read_min.1, sent_min, -1.0).then_some(added(
                written,
                "exclusiveMinimum",
                ["EXCLUSIVE_MINIMUM_ADDED", "EXCLUSIVE_MINIMUM_INCREASED"],
            )),
            "exclusiveMinimum",
        );
        let multiple = |members: &Map<String, Value>| members.get("multipleOf").and_then(Value::as_f64);
        let differs = match (multiple(read), multiple(written)) {
            (None, _) => None,
            (Some(_), None) => Some("MULTIPLE_OF_ADDED"),
            (Some(new), Some(old)) if new > 0.0 && old % new == 0.0 => None,
            (Some(new), Some(old)) if old > 0.0 && new % old == 0.0 => Some("MULTIPLE_OF_EXPANDED"),
            _ => Some("MULTIPLE_OF_CHANGED"),
        };
        report(differs, "multipleOf");
        found
    }

    /// A bound that must not get smaller.
    pub(super) fn upper(
        &self,
        read: &Map<String, Value>,
        written: &Map<String, Value>,
        path: &str,
        keyword: &str,
        added: &'static str,
        decreased: &'static str,
    ) -> Option<Difference> {
        let value = |members: &Map<String, Value>| members.get(keyword).and_then(Value::as_f64);
        let kind = match (value(read)?, value(written)) {
            (_, None) => added,
            (new, Some(old)) if new < old => decreased,
            _ => return None,
        };
        Some(self.difference(kind, &format!("{path}/{keyword}")))
    }

    /// A bound that must not get larger. 0 is none.
    pub(super) fn lower(
        &self,
        read: &Map<String, Value>,
        written: &Map<String, Value>,
        path: &str,
        keyword: &str,
        added: &'static str,
        increased: &'static str,
    ) -> Option<Difference> {
        let value = |members: &Map<String, Value>| members.get(keyword).and_then(Value::as_f64);
        let kind = match (value(read).filter(|new| *new > 0.0)?, value(written)) {
            (_, None) => added,
            (new, Some(old)) if new > old => increased,
            _ => return None,
        };
        Some(self.difference(kind, &format!("{path}/{keyword}")))
    }
}

/// A bound of a number, and its exclusive form; draft 4 has a flag beside the bound for the latter.
fn exclusive(members: &Map<String, Value>, keyword: &str) -> (Option<f64>, Option<f64>) {
    let bound = members.get(keyword).and_then(Value::as_f64);
    let name = if keyword == "maximum" { "exclusiveMaximum" } else { "exclusiveMinimum" };
    match members.get(name) {
        Some(Value::Bool(true)) => (None, bound),
        Some(other) => (bound, other.as_f64()),
        None => (bound, None),
    }
}

/// Whether values that were sent lie beyond the bound `read`; `sign` is -1 for bounds from below.
fn beyond(read: Option<f64>, (sent, sent_exclusive): (Option<f64>, Option<f64>), sign: f64) -> bool {
    read.is_some_and(|read| {
        let within = |bound: Option<f64>| bound.is_some_and(|bound| bound * sign <= read * sign);
        !within(sent) && !within(sent_exclusive)
    })
}

fn beyond_exclusive(
    read: Option<f64>,
    (sent, sent_exclusive): (Option<f64>, Option<f64>),
    sign: f64,
) -> bool {
    read.is_some_and(|read| {
        let inside = sent.is_some_and(|bound| bound * sign < read * sign);
        !inside && !sent_exclusive.is_some_and(|bound| bound * sign <= read * sign)
    })
}

fn added(written: &Map<String, Value>, keyword: &str, words: [&'static str; 2]) -> &'static str {
    if written.contains_key(keyword) { words[1] } else { words[0] }
}

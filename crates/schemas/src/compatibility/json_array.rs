//! JSON Schema: arrays.
//!
//! Owns: items by place and beyond, counts, `contains`.
//! Does not own: the comparison of the items' schemas (`json`).

use serde_json::Value;

use super::Difference;
use super::json::{Checker, is_false, is_true};
use super::json_object::Beside;
use super::json_refs::At;

/// The schemas of the first items, and of those behind.
fn items<'a>(at: At<'a>) -> (Vec<At<'a>>, Beside<'a>) {
    let list = |keyword: &str| at.schema.get(keyword).and_then(Value::as_array);
    let all = |items: &'a [Value]| items.iter().map(|schema| at.of(schema)).collect();
    match (list("prefixItems"), list("items")) {
        (Some(items), _) => (all(items), Beside::of(at, &["items", "unevaluatedItems"])),
        (None, Some(items)) => (all(items), Beside::of(at, &["additionalItems", "unevaluatedItems"])),
        (None, None) => (Vec::new(), Beside::of(at, &["items", "unevaluatedItems"])),
    }
}

impl<'a> Checker<'a> {
    pub(super) fn array(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let mut found = self.items(reader, writer, path);
        let (Some(read), Some(written)) = (reader.schema.as_object(), writer.schema.as_object()) else {
            return found;
        };
        found.extend(self.upper(read, written, path, "maxItems", "MAX_ITEMS_ADDED", "MAX_ITEMS_DECREASED"));
        found.extend(self.lower(read, written, path, "minItems", "MIN_ITEMS_ADDED", "MIN_ITEMS_INCREASED"));
        let unique = |at: At<'_>| at.schema.get("uniqueItems") == Some(&Value::Bool(true));
        if unique(reader) && !unique(writer) {
            found.push(self.difference("UNIQUE_ITEMS_ADDED", &format!("{path}/uniqueItems")));
        }
        if let Some(contained) = reader.member("contains") {
            let within = format!("{path}/contains");
            match writer.member("contains") {
                Some(sent) => found.extend(self.check(contained, sent, &within)),
                None => found.push(self.difference("MIN_CONTAINS_ADDED", &within)),
            }
            let (added, decreased) = ("MAX_CONTAINS_ADDED", "MAX_CONTAINS_DECREASED");
            found.extend(self.upper(read, written, path, "maxContains", added, decreased));
            let (added, increased) = ("MIN_CONTAINS_ADDED", "MIN_CONTAINS_INCREASED");
            found.extend(self.lower(read, written, path, "minContains", added, increased));
        }
        found
    }

    fn items(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let ((read, read_beside), (written, written_beside)) = (items(reader), items(writer));
        for (index, (schema, sent)) in read.iter().zip(&written).enumerate() {
            found.extend(self.check(*schema, *sent, &format!("{path}/items/{index}")));
        }
        for (index, schema) in read.iter().enumerate().skip(written.len()) {
            let within = format!("{path}/items/{index}");
            match &written_beside {
                Beside::Nothing => {}
                Beside::Anything if is_true(schema.schema) => {}
                Beside::Anything => found.push(self.difference("ITEM_ADDED_TO_OPEN_CONTENT_MODEL", &within)),
                Beside::Something(sent) => {
                    let missing = self.check(*schema, *sent, &within);
                    if !missing.is_empty() {
                        let kind = "ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                        found.extend(missing);
                        found.push(self.difference(kind, &within));
                    }
                }
            }
        }
        for (index, sent) in written.iter().enumerate().skip(read.len()) {
            let within = format!("{path}/items/{index}");
            match &read_beside {
                Beside::Anything => {}
                Beside::Nothing if is_false(sent.schema) => {}
                Beside::Nothing => {
                    found.push(self.difference("ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", &within))
                }
                Beside::Something(schema) => {
                    let missing = self.check(*schema, *sent, &within);
                    if !missing.is_empty() {
                        let kind = "ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                        found.extend(missing);
                        found.push(self.difference(kind, &within));
                    }
                }
            }
        }
        let (keyword, words) = if read.is_empty() {
            ("items", ["ADDITIONAL_ITEMS_REMOVED", "ADDITIONAL_ITEMS_NARROWED"])
        } else {
            ("additionalItems", ["ADDITIONAL_ITEMS_REMOVED", "ADDITIONAL_ITEMS_NARROWED"])
        };
        found.extend(self.narrowed(read_beside, written_beside, words, &format!("{path}/{keyword}")));
        found
    }
}

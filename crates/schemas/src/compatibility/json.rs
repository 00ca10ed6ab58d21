//! JSON Schema: whether every value that was valid under the writer's schema is valid under the reader's.
//!
//! Owns: types, references, enums, sums (`anyOf`, `oneOf`) and products (`allOf`), keywords of strings and numbers.
//! Does not own: objects and arrays (`json_object`, `json_array`); where references lead (`json_refs`).
//! Invariants: nothing is called compatible because it is not understood: conditions must stay as they are. `format` and
//! annotations do not count.
//! Source: Confluent's "JSON Schema compatibility rules", whose names for differences these are. Where those go by the
//! shape of a schema, this goes by the values: the writer's schema must imply each requirement of the reader's. One rule is
//! theirs alone: a required property with a default may be added.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json_refs::{At, Documents};
use super::{Bounds, Difference, Sides};
use crate::registry::ResolvedSchema;

/// What keeps `reader` from taking what `writer` allowed.
pub(super) fn compare(
    reader: &ResolvedSchema,
    writer: &ResolvedSchema,
    sides: Sides,
) -> Result<Vec<Difference>, String> {
    let (reader, writer) = (Documents::parse(reader)?, Documents::parse(writer)?);
    let mut checker =
        Checker { reader: &reader, writer: &writer, sides, bounds: Bounds::new(), open: BTreeSet::new() };
    Ok(checker.check(reader.root(), writer.root(), "#"))
}

pub(super) struct Checker<'a> {
    reader: &'a Documents,
    writer: &'a Documents,
    pub(super) sides: Sides,
    bounds: Bounds,
    /// Pairs that are being compared: what leads back to one adds nothing.
    open: BTreeSet<(usize, usize)>,
}

/// The keywords that make a schema the sum of others.
const SUMS: [&str; 2] = ["anyOf", "oneOf"];
/// Keywords that must stay as they are: they hold under a condition, or depend on who refers to them.
const OPAQUE: [&str; 5] = ["if", "then", "else", "$dynamicRef", "$recursiveRef"];

const STRING: [&str; 3] = ["maxLength", "minLength", "pattern"];
const NUMBER: [&str; 5] = ["maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "multipleOf"];
const OBJECT: [&str; 11] = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "maxProperties",
    "minProperties",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "propertyNames",
    "unevaluatedProperties",
];
const ARRAY: [&str; 10] = [
    "items",
    "prefixItems",
    "additionalItems",
    "maxItems",
    "minItems",
    "uniqueItems",
    "contains",
    "maxContains",
    "minContains",
    "unevaluatedItems",
];
const EVERY: [&str; 6] = ["string", "number", "object", "array", "boolean", "null"];

pub(super) fn is_true(schema: &Value) -> bool {
    match schema {
        Value::Bool(value) => *value,
        Value::Object(members) => !members.keys().any(|name| is_requirement(name)),
        _ => true,
    }
}

pub(super) fn is_false(schema: &Value) -> bool {
    match schema {
        Value::Bool(value) => !value,
        Value::Object(members) => members.len() == 1 && members.get("not").is_some_and(is_true),
        _ => false,
    }
}

fn is_requirement(name: &str) -> bool {
    matches!(name, "type" | "enum" | "const" | "allOf" | "not" | "$ref")
        || SUMS.contains(&name)
        || OPAQUE.contains(&name)
        || [&STRING[..], &NUMBER, &OBJECT, &ARRAY].iter().any(|family| family.contains(&name))
}

/// A schema with its references followed: its own keywords, and the schemas that hold beside them.
struct Parts<'a> {
    own: At<'a>,
    members: &'a Map<String, Value>,
    /// All of these hold, too.
    products: Vec<At<'a>>,
    /// One of each of these holds, with its keyword.
    sums: Vec<(&'static str, Vec<At<'a>>)>,
}

impl<'a> Checker<'a> {
    /// Compares two schemas and tells what of the reader's the writer's does not imply.
    pub(super) fn check(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let (reader, writer) = (self.reader.followed(reader), self.writer.followed(writer));
        if is_true(reader.schema) || is_false(writer.schema) {
            return Vec::new();
        }
        if is_false(reader.schema) && writer.schema.get("allOf").is_none() {
            return vec![self.difference("TYPE_CHANGED", path)];
        }
        let pair = (reader.address(), writer.address());
        if self.open.contains(&pair) {
            return Vec::new();
        }
        if !self.bounds.enter() {
            return vec![Bounds::exceeded(path)];
        }
        self.open.insert(pair);
        let found = self.check_parts(reader, writer, path);
        self.open.remove(&pair);
        self.bounds.leave();
        found
    }

    fn check_parts(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let read = parts(self.reader, reader);
        let written = parts(self.writer, writer);
        let (Some(read), Some(written)) = (read, written) else {
            return vec![self.difference("TYPE_CHANGED", path)];
        };
        if is_true(read.own.schema) && read.products.is_empty() || is_false(written.own.schema) {
            return Vec::new();
        }
        let mut found = match is_false(read.own.schema) {
            true if written.products.iter().any(|p| self.check(read.own, *p, path).is_empty()) => {
                return Vec::new();
            }
            true => vec![self.difference("TYPE_CHANGED", path)],
            false => self.own_keywords(&read, &written, path),
        };
        for product in &read.products {
            let within = format!("{path}/allOf");
            let missing = self.implied(*product, &written, &within);
            if !missing.is_empty() {
                found.push(self.difference("PRODUCT_TYPE_EXTENDED", &within));
                found.extend(missing);
            }
        }
        for (keyword, choices) in &read.sums {
            found.extend(self.sum(choices, &written, &format!("{path}/{keyword}")));
        }
        for keyword in OPAQUE {
            if read.members.get(keyword).is_some_and(|value| written.members.get(keyword) != Some(value)) {
                found.push(self.difference("TYPE_CHANGED", &format!("{path}/{keyword}")));
            }
        }
        if let Some(refused) = read.own.member("not") {
            // What the reader refuses, the writer must have refused.
            let refused_before = match written.own.member("not") {
                Some(was_refused) => self.swapped(|this| this.check(was_refused, refused, path)).is_empty(),
                None => is_false(refused.schema),
            };
            if !refused_before {
                found.push(self.difference("NOT_TYPE_EXTENDED", &format!("{path}/not")));
            }
        }
        found
    }

    /// Goes on with the sides exchanged: what follows `not`.
    fn swapped<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        std::mem::swap(&mut self.reader, &mut self.writer);
        let done = work(self);
        std::mem::swap(&mut self.reader, &mut self.writer);
        done
    }

    /// Takes steps of the comparison; false when there are no more.
    pub(super) fn spend(&mut self, steps: usize) -> bool {
        let left = self.bounds.steps.checked_sub(steps);
        self.bounds.steps = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether the writer's schema, as a whole or by one of the schemas beside it, implies one of the reader's.
    fn implied(&mut self, reader: At<'a>, written: &Parts<'a>, path: &str) -> Vec<Difference> {
        let found = self.check(reader, written.own, path);
        if found.is_empty() || written.products.iter().any(|p| self.check(reader, *p, path).is_empty()) {
            return Vec::new();
        }
        for (_, choices) in &written.sums {
            if choices.iter().all(|choice| self.check(reader, *choice, path).is_empty()) {
                return Vec::new();
            }
        }
        found
    }

    /// One of the reader's choices must hold whatever the writer chose.
    fn sum(&mut self, choices: &[At<'a>], written: &Parts<'a>, path: &str) -> Vec<Difference> {
        let takes = |this: &mut Self, writer: At<'a>| {
            choices.iter().any(|choice| this.check(*choice, writer, path).is_empty())
        };
        for (_, sent) in &written.sums {
            let missing = sent.iter().filter(|writer| !takes(self, **writer)).count();
            if missing == 0 {
                return Vec::new();
            }
        }
        if written.products.iter().any(|product| takes(self, *product)) || takes(self, written.own) {
            return Vec::new();
        }
        if self.each_type(choices, written, path) {
            return Vec::new();
        }
        let kind = match written.sums.first() {
            Some((_, sent)) if sent.len() > choices.len() => "SUM_TYPE_NARROWED",
            Some(_) => "COMBINED_TYPE_SUBSCHEMAS_CHANGED",
            None => "TYPE_CHANGED",
        };
        vec![self.difference(kind, path)]
    }

    /// `{"type": ["string", "null"]}` is a sum as well: each of its types must be taken.
    fn each_type(&mut self, choices: &[At<'a>], written: &Parts<'a>, path: &str) -> bool {
        let only_type = written.members.keys().all(|name| name == "type" || !is_requirement(name));
        let Some(types) = written.members.get("type").and_then(Value::as_array).filter(|_| only_type) else {
            return false;
        };
        types.iter().filter_map(Value::as_str).all(|sent| {
            choices.iter().any(|choice| {
                let Some(read) = parts(self.reader, *choice) else { return false };
                let bare = !read.members.keys().any(|name| name != "type" && is_requirement(name));
                let types = types_of(read.members);
                bare && self.types(&types, &BTreeSet::from([sent]), path).is_none()
            })
        })
    }

    /// The reader's own keywords, against the writer's own and else against what stands beside those.
    fn own_keywords(&mut self, read: &Parts<'a>, written: &Parts<'a>, path: &str) -> Vec<Difference> {
        let found = self.keywords(read.own, read.members, written.own, written.members, path);
        if found.is_empty() {
            return found;
        }
        let by = |this: &mut Self, writer: At<'a>| match parts(this.writer, writer) {
            Some(other) => {
                let direct = this.keywords(read.own, read.members, other.own, other.members, path);
                direct.is_empty() || other.products.iter().any(|p| this.implies_keywords(read, *p, path))
            }
            None => false,
        };
        if written.products.iter().any(|product| by(self, *product)) {
            return Vec::new();
        }
        for (_, choices) in &written.sums {
            if choices.iter().all(|choice| by(self, *choice)) {
                return Vec::new();
            }
        }
        found
    }

    fn implies_keywords(&mut self, read: &Parts<'a>, writer: At<'a>, path: &str) -> bool {
        parts(self.writer, writer).is_some_and(|other| {
            self.keywords(read.own, read.members, other.own, other.members, path).is_empty()
        })
    }

    fn keywords(
        &mut self,
        reader: At<'a>,
        read: &'a Map<String, Value>,
        writer: At<'a>,
        written: &'a Map<String, Value>,
        path: &str,
    ) -> Vec<Difference> {
        let mut found = self.enums(read, written, path);
        let (read_types, written_types) = (types_of(read), types_of(written));
        if let Some(difference) = self.types(&read_types, &written_types, path) {
            found.push(difference);
            return found;
        }
        let has = |family: &[&str]| read.keys().chain(written.keys()).any(|k| family.contains(&k.as_str()));
        if written_types.contains("string") && has(&STRING) {
            found.extend(self.string(read, written, path));
        }
        if (written_types.contains("number") || written_types.contains("integer")) && has(&NUMBER) {
            found.extend(self.number(read, written, path));
        }
        if written_types.contains("object") && has(&OBJECT) {
            found.extend(self.object(reader, writer, path));
        }
        if written_types.contains("array") && has(&ARRAY) {
            found.extend(self.array(reader, writer, path));
        }
        found
    }

    fn types(&self, read: &BTreeSet<&str>, written: &BTreeSet<&str>, path: &str) -> Option<Difference> {
        let taken = |name: &&&str| read.contains(**name) || **name == "integer" && read.contains("number");
        if written.iter().all(|name| taken(&name)) {
            return None;
        }
        let kind = match (written.iter().any(|name| taken(&name)), read.contains("integer")) {
            (true, _) => "SUM_TYPE_NARROWED",
            (false, true) if written.contains("number") => "TYPE_NARROWED",
            (false, _) => "TYPE_CHANGED",
        };
        Some(self.difference(kind, path))
    }

    fn enums(&self, read: &Map<String, Value>, written: &Map<String, Value>, path: &str) -> Vec<Difference> {
        let Some(taken) = values_of(read) else { return Vec::new() };
        let taken: BTreeSet<String> = taken.iter().map(ToString::to_string).collect();
        let Some(sent) = values_of(written) else {
            return vec![self.difference("ENUM_ARRAY_NARROWED", &format!("{path}/enum"))];
        };
        let sent: BTreeSet<String> = sent.iter().map(ToString::to_string).collect();
        match (sent.is_subset(&taken), taken.is_subset(&sent)) {
            (true, _) => Vec::new(),
            (false, true) => vec![self.difference("ENUM_ARRAY_NARROWED", &format!("{path}/enum"))],
            (false, false) => vec![self.difference("ENUM_ARRAY_CHANGED", &format!("{path}/enum"))],
        }
    }

    pub(super) fn difference(&self, kind: &'static str, path: &str) -> Difference {
        Difference { kind, description: super::json_words::describe(kind, path, self.sides) }
    }
}

/// Follows references, and takes apart what holds beside a schema's own keywords.
fn parts<'a>(documents: &'a Documents, at: At<'a>) -> Option<Parts<'a>> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let mut products = Vec::new();
    let mut own = at;
    if at.schema.get("$ref").is_some() {
        let target = documents.target(at)?;
        if documents.siblings_count() && at.schema.as_object().is_some_and(|members| members.len() > 1) {
            products.push(target);
        } else {
            own = target;
        }
    }
    let members = own.schema.as_object().unwrap_or(&NOTHING);
    let list = |keyword: &str| {
        let all = members.get(keyword).and_then(Value::as_array).into_iter().flatten();
        all.map(|schema| own.of(schema)).collect::<Vec<_>>()
    };
    products.extend(list("allOf"));
    let sums =
        SUMS.into_iter().map(|keyword| (keyword, list(keyword))).filter(|(_, choices)| !choices.is_empty());
    Some(Parts { own, members, products, sums: sums.collect() })
}

/// The types that a schema's own keywords allow. Without `type` those of its keywords or values, as Confluent has it.
fn types_of(members: &Map<String, Value>) -> BTreeSet<&str> {
    let mut types: BTreeSet<&str> = match members.get("type") {
        Some(Value::String(name)) => BTreeSet::from([name.as_str()]),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => match values_of(members) {
            Some(values) => values.iter().map(|value| type_of(value)).collect(),
            None => {
                let families: [(&str, &[&str]); 4] =
                    [("string", &STRING), ("number", &NUMBER), ("object", &OBJECT), ("array", &ARRAY)];
                let found =
                    families.into_iter().filter(|(_, k)| members.keys().any(|m| k.contains(&m.as_str())));
                let found: BTreeSet<&str> = found.map(|(name, _)| name).collect();
                if found.len() == 1 { found } else { EVERY.into_iter().collect() }
            }
        },
    };
    if types.contains("number") {
        types.remove("integer");
    }
    types
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The values that a schema names one by one.
fn values_of(members: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (members.get("const"), members.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        (None, _) => None,
    }
}

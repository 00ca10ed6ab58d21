//! JSON Schema: objects.
//!
//! Owns: properties and content models: what a property that one side does not name may be there.
//! Does not own: the comparison of the properties' schemas (`json`).
//! Source: Confluent's rules: an object is open when anything may stand beside its properties, closed when nothing may,
//! and partly open when `additionalProperties` or `patternProperties` say what.

use std::collections::{BTreeSet, HashMap};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Difference;
use super::json::{Checker, is_false, is_true};
use super::json_refs::At;
use crate::dialect;

/// What may stand where a schema names nothing.
pub(super) enum Beside<'a> {
    Anything,
    Nothing,
    Something(At<'a>),
}

impl<'a> Beside<'a> {
    /// What the first of these keywords that is there says.
    pub(super) fn of(at: At<'a>, keywords: &[&str]) -> Self {
        match keywords.iter().find_map(|keyword| at.member(keyword)) {
            None => Self::Anything,
            Some(found) => Self::by(found),
        }
    }

    fn by(found: At<'a>) -> Self {
        match found.schema {
            schema if is_false(schema) => Self::Nothing,
            schema if is_true(schema) => Self::Anything,
            _ => Self::Something(found),
        }
    }
}

/// An object's schema with its patterns compiled.
struct Model<'a> {
    at: At<'a>,
    patterns: Vec<(Option<Validator>, At<'a>)>,
}

fn members<'a>(at: At<'a>, keyword: &str) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
    let members = at.schema.get(keyword).and_then(Value::as_object).into_iter().flatten();
    members.map(move |(name, schema)| (name.as_str(), at.of(schema)))
}

fn required<'a>(at: At<'a>) -> BTreeSet<&'a str> {
    let names = at.schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

impl<'a> Model<'a> {
    fn of(at: At<'a>) -> Self {
        let compiled = |(pattern, schema)| {
            let validator =
                dialect::compile(&json!({"pattern": pattern}), jsonschema::Draft::Draft7, HashMap::new());
            (validator.ok(), schema)
        };
        Self { at, patterns: members(at, "patternProperties").map(compiled).collect() }
    }

    /// What a property may be that is not among the properties.
    fn beside(&self, name: &str) -> Beside<'a> {
        let value = Value::from(name);
        let matching =
            self.patterns.iter().find(|(pattern, _)| pattern.as_ref().is_some_and(|p| p.is_valid(&value)));
        match matching {
            Some((_, schema)) => Beside::by(*schema),
            None => Beside::of(self.at, &["additionalProperties", "unevaluatedProperties"]),
        }
    }
}

impl<'a> Checker<'a> {
    pub(super) fn object(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let patterns =
            members(reader, "patternProperties").chain(members(writer, "patternProperties")).count();
        if !self.spend(patterns) {
            return vec![super::Bounds::exceeded(path)];
        }
        let (read, written) = (Model::of(reader), Model::of(writer));
        let mut found = self.properties(&read, &written, path);
        found.extend(self.pattern_properties(&read, &written, path));
        found.extend(self.content_model(reader, writer, path));
        found.extend(self.dependencies(reader, writer, path));
        if let Some(names) = reader.member("propertyNames") {
            let within = format!("{path}/propertyNames");
            match writer.member("propertyNames") {
                Some(sent) => found.extend(self.check(names, sent, &within)),
                None if is_true(names.schema) => {}
                None => found.push(self.difference("PATTERN_ADDED", &within)),
            }
        }
        if let (Some(read), Some(written)) = (reader.schema.as_object(), writer.schema.as_object()) {
            let (added, decreased) = ("MAX_PROPERTIES_ADDED", "MAX_PROPERTIES_DECREASED");
            found.extend(self.upper(read, written, path, "maxProperties", added, decreased));
            let (added, increased) = ("MIN_PROPERTIES_ADDED", "MIN_PROPERTIES_INCREASED");
            found.extend(self.lower(read, written, path, "minProperties", added, increased));
        }
        found
    }

    fn properties(&mut self, read: &Model<'a>, written: &Model<'a>, path: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let (must_read, must_written) = (required(read.at), required(written.at));
        let sent: HashMap<&str, At<'a>> = members(written.at, "properties").collect();
        let named: HashMap<&str, At<'a>> = members(read.at, "properties").collect();
        for (name, schema) in members(read.at, "properties") {
            let within = format!("{path}/properties/{name}");
            let needed = must_read.contains(name) && !must_written.contains(name);
            let has_default = schema.schema.get("default").is_some();
            match sent.get(name) {
                Some(writer) => {
                    if needed && !has_default {
                        let at = format!("{path}/required/{name}");
                        found.push(self.difference("REQUIRED_ATTRIBUTE_ADDED", &at));
                    }
                    found.extend(self.check(schema, *writer, &within));
                }
                None => {
                    found.extend(self.property_added(schema, written.beside(name), &within));
                    if needed && !has_default && found.last().is_none_or(|d| !d.description.contains(&within))
                    {
                        found.push(
                            self.difference("REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", &within),
                        );
                    }
                }
            }
        }
        for name in must_read.difference(&must_written).filter(|name| !named.contains_key(*name)) {
            found.push(self.difference("REQUIRED_ATTRIBUTE_ADDED", &format!("{path}/required/{name}")));
        }
        for (name, writer) in members(written.at, "properties").filter(|(name, _)| !named.contains_key(name))
        {
            let within = format!("{path}/properties/{name}");
            let kind = match read.beside(name) {
                Beside::Anything => continue,
                Beside::Nothing if is_false(writer.schema) => continue,
                Beside::Nothing => "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
                Beside::Something(schema) => {
                    let missing = self.check(schema, writer, &within);
                    if missing.is_empty() {
                        continue;
                    }
                    found.extend(missing);
                    "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"
                }
            };
            found.push(self.difference(kind, &within));
        }
        found
    }

    /// A property that the writer did not name.
    fn property_added(&mut self, schema: At<'a>, beside: Beside<'a>, path: &str) -> Vec<Difference> {
        match beside {
            Beside::Nothing => Vec::new(),
            Beside::Anything if is_true(schema.schema) => Vec::new(),
            Beside::Anything => vec![self.difference("PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", path)],
            Beside::Something(sent) => {
                let mut found = self.check(schema, sent, path);
                if !found.is_empty() {
                    let kind = "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                    found.push(self.difference(kind, path));
                }
                found
            }
        }
    }

    fn pattern_properties(&mut self, read: &Model<'a>, written: &Model<'a>, path: &str) -> Vec<Difference> {
        let sent: HashMap<&str, At<'a>> = members(written.at, "patternProperties").collect();
        let mut found = Vec::new();
        for (pattern, schema) in members(read.at, "patternProperties") {
            let within = format!("{path}/patternProperties/{pattern}");
            match sent.get(pattern) {
                Some(writer) => found.extend(self.check(schema, *writer, &within)),
                None => {
                    let beside = Beside::of(written.at, &["additionalProperties", "unevaluatedProperties"]);
                    found.extend(self.property_added(schema, beside, &within));
                }
            }
        }
        found
    }

    fn content_model(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let (keyword, words) = match reader.member("additionalProperties") {
            None if reader.member("unevaluatedProperties").is_some() => (
                "unevaluatedProperties",
                ["UNEVALUATED_PROPERTIES_REMOVED", "UNEVALUATED_PROPERTIES_NARROWED"],
            ),
            _ => {
                ("additionalProperties", ["ADDITIONAL_PROPERTIES_REMOVED", "ADDITIONAL_PROPERTIES_NARROWED"])
            }
        };
        let both = ["additionalProperties", "unevaluatedProperties"];
        self.narrowed(
            Beside::of(reader, &both),
            Beside::of(writer, &both),
            words,
            &format!("{path}/{keyword}"),
        )
    }

    /// What may stand beside must not get less.
    pub(super) fn narrowed(
        &mut self,
        read: Beside<'a>,
        written: Beside<'a>,
        [removed, narrowed]: [&'static str; 2],
        path: &str,
    ) -> Vec<Difference> {
        match (read, written) {
            (Beside::Anything, _) | (_, Beside::Nothing) => Vec::new(),
            (Beside::Nothing, _) => vec![self.difference(removed, path)],
            (Beside::Something(_), Beside::Anything) => vec![self.difference(narrowed, path)],
            (Beside::Something(read), Beside::Something(written)) => self.check(read, written, path),
        }
    }

    fn dependencies(&mut self, reader: At<'a>, writer: At<'a>, path: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
            let sent: HashMap<&str, At<'a>> = members(writer, keyword).collect();
            for (name, needed) in members(reader, keyword) {
                let within = format!("{path}/{keyword}/{name}");
                match (needed.schema.as_array(), sent.get(name)) {
                    (Some(_), None) => found.push(self.difference("DEPENDENCY_ARRAY_ADDED", &within)),
                    (None, None) => found.push(self.difference("DEPENDENCY_SCHEMA_ADDED", &within)),
                    (Some(names), Some(writer)) => match writer.schema.as_array() {
                        Some(known) if names.iter().all(|name| known.contains(name)) => {}
                        Some(known) if known.iter().all(|name| names.contains(name)) => {
                            found.push(self.difference("DEPENDENCY_ARRAY_EXTENDED", &within));
                        }
                        _ => found.push(self.difference("DEPENDENCY_ARRAY_CHANGED", &within)),
                    },
                    (None, Some(writer)) => found.extend(self.check(needed, *writer, &within)),
                }
            }
        }
        found
    }
}

//! JSON Schema to columns.
//!
//! Owns: the type mapping, which keywords are understood.
//! Does not own: reading values; references and `allOf` (`flatten`).
//! Invariants: no construct that could change a value's meaning is passed over: it is mapped, checked or refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use jsonschema::Validator;
use serde_json::{Map, Value};

use super::restrictions::{Numbers, Texts};
use super::{DecodeOptions, SetupError};
use crate::registry::ResolvedSchema;
use crate::{dialect, validity};

mod flatten;

/// Deepest nesting of columns.
const DEPTH_MAX: usize = 32;
/// Most columns, nested ones included.
const NODES_MAX: usize = 2_000;

/// Time zone of all timestamps.
pub(crate) const UTC: &str = "+00:00";

/// A compiled schema.
pub(super) struct Plan {
    pub(super) columns: SchemaRef,
    pub(super) root: Object,
    /// Set when the schema restricts values beyond what the decoder checks itself.
    pub(super) validator: Option<Validator>,
    /// Values are no objects: the root's only member stands for the value itself.
    pub(super) is_bare: bool,
}

/// What a value must be.
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The schema takes `null` in its place.
    pub(super) nullable: bool,
}

/// A type of value.
pub(super) enum Kind {
    Boolean,
    Integer(Numbers<i64>),
    Number(Numbers<f64>),
    Text(Texts),
    Timestamp,
    Date,
    Time,
    Struct(Object),
    /// The number of arrays that each entry adds to.
    Map(Box<Node>, usize),
    /// The number of arrays that each item adds to.
    List(Box<Node>, usize),
}

/// An object with known members.
pub(super) struct Object {
    pub(super) fields: Vec<Member>,
    pub(super) by_name: HashMap<Box<[u8]>, usize>,
    /// `additionalProperties: false`: unknown members are refused.
    pub(super) closed: bool,
}

/// A known member of an object.
pub(super) struct Member {
    pub(super) name: String,
    /// The name as it is usually written in JSON, with its quotes.
    pub(super) literal: Box<[u8]>,
    pub(super) required: bool,
    pub(super) node: Node,
}

impl super::json::Known for Member {
    fn literal(&self) -> &[u8] {
        &self.literal
    }
}

impl Member {
    /// Whether `null` may stand for the member: it is allowed by type, or means the same as leaving it out.
    pub(super) fn takes_null(&self) -> bool {
        self.node.nullable || !self.required
    }
}

impl Plan {
    pub(super) fn compile(resolved: &ResolvedSchema, options: &DecodeOptions) -> Result<Self, SetupError> {
        let id = resolved.schema.id;
        let at_root = |reason: String| SetupError::Unsupported { id, path: "$".into(), reason };
        let flat = flatten::flatten(resolved)?;
        let mut compiler = Compiler { id, nodes: 0, restricted: flat.restricted };
        let root = compiler.node(&flat.schema, "$", 0)?;
        let (object, is_bare) = match (root.kind, &options.bare_name) {
            (Kind::Struct(object), _) => (object, false),
            (kind, Some(name)) => (Object::of_one(name, Node { kind, ..root }), true),
            (_, None) => {
                return Err(at_root(
                    "a record must be an object with `properties`: they become the columns".into(),
                ));
            }
        };
        let validator = match compiler.restricted {
            false => None,
            true => Some(validator(resolved).map_err(at_root)?),
        };
        let columns = Arc::new(Schema::new(object.arrow_fields()));
        Ok(Self { columns, root: object, validator, is_bare })
    }
}

fn validator(resolved: &ResolvedSchema) -> Result<Validator, String> {
    let document = dialect::parse(&resolved.schema.schema)?;
    let draft = dialect::draft_of(&document)?;
    dialect::compile(&document, draft, validity::documents(&resolved.references)?)
}

impl Object {
    /// What stands for a value that is no object.
    fn of_one(name: &str, node: Node) -> Self {
        let literal = Value::from(name).to_string().into_bytes().into();
        let member = Member { name: name.to_owned(), literal, required: true, node };
        Self { fields: vec![member], by_name: HashMap::new(), closed: false }
    }

    fn arrow_fields(&self) -> Fields {
        self.fields.iter().map(|f| Field::new(&f.name, f.node.data_type(), true)).collect()
    }
}

impl Node {
    /// Number of arrays that one value adds to, nested ones included.
    fn cells(&self) -> usize {
        match &self.kind {
            Kind::Struct(object) => 1 + object.fields.iter().map(|field| field.node.cells()).sum::<usize>(),
            Kind::List(_, cells) | Kind::Map(_, cells) => 1 + cells,
            _ => 1,
        }
    }

    /// The column's type. List and map members have Iceberg's names.
    pub(super) fn data_type(&self) -> DataType {
        match &self.kind {
            Kind::Boolean => DataType::Boolean,
            Kind::Integer(_) => DataType::Int64,
            Kind::Number(_) => DataType::Float64,
            Kind::Text(_) => DataType::Utf8,
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Kind::Date => DataType::Date32,
            Kind::Time => DataType::Time64(TimeUnit::Microsecond),
            Kind::Struct(object) => DataType::Struct(object.arrow_fields()),
            Kind::List(items, _) => DataType::List(Arc::new(Field::new("element", items.data_type(), true))),
            Kind::Map(values, _) => {
                let entries = Fields::from(vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", values.data_type(), true),
                ]);
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
            }
        }
    }
}

/// Keywords that combine schemas in ways that columns cannot follow.
const REFUSED: &[(&str, &str)] = &[
    ("patternProperties", "use `properties`, or `additionalProperties` with a schema for a map"),
    ("if", "conditional schemas have no fixed columns"),
    ("then", "conditional schemas have no fixed columns"),
    ("else", "conditional schemas have no fixed columns"),
    ("not", "negated schemas are not supported"),
    ("contains", "give all `items` one schema"),
    ("prefixItems", "tuples are not supported: give all `items` one schema, or use an object"),
    ("dependentSchemas", "conditional schemas have no fixed columns"),
    ("dependencies", "conditional schemas have no fixed columns"),
    ("propertyNames", "restricted names are not supported"),
    ("unevaluatedProperties", "use `additionalProperties`"),
    ("unevaluatedItems", "use `items`"),
    ("$dynamicRef", "use `$ref` to `#/$defs/…`"),
    ("$recursiveRef", "use `$ref` to `#/$defs/…`"),
];

/// Keywords that restrict values; all but the plain cases of them are left to the validator.
const RESTRICTING: &[&str] = &[
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "dependentRequired",
];

/// Keywords that make types: beside `$ref` or a union they would have to be merged.
const SHAPING: &[&str] =
    &["type", "properties", "additionalProperties", "items", "required", "oneOf", "anyOf", "allOf", "$ref"];

struct Compiler {
    id: i32,
    nodes: usize,
    restricted: bool,
}

impl Compiler {
    fn refuse<T>(&self, path: &str, reason: impl Into<String>) -> Result<T, SetupError> {
        Err(SetupError::Unsupported { id: self.id, path: path.to_owned(), reason: reason.into() })
    }

    fn node(&mut self, schema: &Value, path: &str, depth: usize) -> Result<Node, SetupError> {
        let Value::Object(schema) = schema else {
            return self.refuse(path, "a schema without a type: say which `type` it has");
        };
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.refuse(path, format!("the schema makes more than {NODES_MAX} columns"));
        }
        if depth > DEPTH_MAX {
            return self.refuse(path, format!("columns are nested deeper than {DEPTH_MAX} levels"));
        }
        for (keyword, instead) in REFUSED {
            if schema.contains_key(*keyword) {
                return self.refuse(path, format!("`{keyword}` is not supported: {instead}"));
            }
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(keyword) {
                return self.union(schema, keyword, branches, path, depth);
            }
        }
        let (name, nullable) = self.type_of(schema, path)?;
        let kind = self.kind(schema, name, nullable, path, depth)?;
        let nullable = nullable && !matches!(&kind, Kind::Text(texts) if texts.refuse_null);
        Ok(Node { kind, nullable })
    }

    /// `oneOf`/`anyOf` of one schema and `null`.
    fn union(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        branches: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Node, SetupError> {
        self.only_restricting_beside(schema, keyword, path)?;
        let branches = branches.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_null = |branch: &&Value| branch.get("type").is_some_and(|t| t == "null");
        let nulls = branches.iter().filter(is_null).count();
        let mut others = branches.iter().filter(|b| !is_null(b));
        let (Some(only), None) = (others.next(), others.next()) else {
            return self.refuse(path, format!("`{keyword}` is supported for one schema and null only"));
        };
        let node = self.node(only, path, depth + 1)?;
        if keyword == "oneOf" && nulls > 0 && (nulls > 1 || node.nullable) {
            return self.refuse(path, "`oneOf` in which null fits twice takes no null");
        }
        Ok(Node { nullable: node.nullable || nulls > 0, ..node })
    }

    fn only_restricting_beside(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        path: &str,
    ) -> Result<(), SetupError> {
        let beside = |k: &&&str| **k != keyword && schema.contains_key(**k);
        if let Some(other) = SHAPING.iter().find(beside) {
            return self.refuse(path, format!("`{other}` beside `{keyword}` is not supported: merge them"));
        }
        self.restricted |= RESTRICTING.iter().any(|k| schema.contains_key(*k));
        Ok(())
    }

    /// The one type besides null, said or implied.
    fn type_of(&self, schema: &Map<String, Value>, path: &str) -> Result<(&'static str, bool), SetupError> {
        let mut names: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => implied_types(schema),
        };
        let count = names.len();
        names.retain(|name| *name != "null");
        let nullable = names.len() < count;
        if names.contains(&"number") {
            names.retain(|name| *name != "integer");
        }
        let known = ["boolean", "integer", "number", "string", "object", "array"];
        match names.as_slice() {
            [name] => match known.into_iter().find(|k| k == name) {
                Some(name) => Ok((name, nullable)),
                None => self.refuse(path, format!("unknown type {name}")),
            },
            [] => self.refuse(path, "a schema without a type: say which `type` it has"),
            several => self.refuse(
                path,
                format!("a column has one type, not {}: only null may be added", several.join(" and ")),
            ),
        }
    }

    fn kind(
        &mut self,
        schema: &Map<String, Value>,
        name: &str,
        nullable: bool,
        path: &str,
        depth: usize,
    ) -> Result<Kind, SetupError> {
        let mut left = RESTRICTING.iter().filter(|k| schema.contains_key(**k)).count();
        let kind = match name {
            "boolean" => Kind::Boolean,
            "integer" => {
                let numbers = Numbers::<i64>::of(schema);
                left -= numbers.keywords;
                Kind::Integer(numbers)
            }
            "number" => {
                let numbers = Numbers::<f64>::of(schema);
                left -= numbers.keywords;
                Kind::Number(numbers)
            }
            "string" => match schema.get("format").and_then(Value::as_str) {
                Some("date-time") => Kind::Timestamp,
                Some("date") => Kind::Date,
                Some("time") => Kind::Time,
                _ => {
                    let texts = Texts::of(schema, nullable);
                    left -= texts.keywords;
                    Kind::Text(texts)
                }
            },
            "array" => match schema.get("items") {
                Some(items @ Value::Object(_)) => {
                    let items = self.node(items, &format!("{path}[]"), depth + 1)?;
                    let cells = items.cells();
                    Kind::List(Box::new(items), cells)
                }
                Some(Value::Array(_)) => {
                    return self.refuse(path, "tuples are not supported: give all `items` one schema");
                }
                _ => return self.refuse(path, "an array needs `items` with a schema"),
            },
            _ => self.object(schema, path, depth)?,
        };
        self.restricted |= left > 0;
        Ok(kind)
    }

    fn object(&mut self, schema: &Map<String, Value>, path: &str, depth: usize) -> Result<Kind, SetupError> {
        let additional = schema.get("additionalProperties");
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = schema.get("properties").and_then(Value::as_object).filter(|p| !p.is_empty());
        let Some(properties) = properties else {
            let Some(values @ Value::Object(_)) = additional else {
                return self.refuse(
                    path,
                    "an object needs `properties`, or `additionalProperties` with a schema to be a map",
                );
            };
            self.restricted |= !required.is_empty();
            let values = self.node(values, &format!("{path}{{}}"), depth + 1)?;
            let cells = values.cells() + 1;
            return Ok(Kind::Map(Box::new(values), cells));
        };
        let mut fields = Vec::with_capacity(properties.len());
        let mut by_name = HashMap::with_capacity(properties.len());
        for (name, property) in properties {
            let node = self.node(property, &format!("{path}.{name}"), depth + 1)?;
            by_name.insert(name.as_bytes().into(), fields.len());
            let literal = Value::String(name.clone()).to_string().into_bytes().into();
            let required = required.contains(&name.as_str());
            fields.push(Member { name: name.clone(), literal, required, node });
        }
        if let Some(values @ Value::Object(members)) = additional
            && !members.is_empty()
        {
            // Unknown members are passed over, but must fit: the validator sees to it, within the same limits.
            self.node(values, &format!("{path}{{}}"), depth + 1)?;
            self.restricted = true;
        }
        self.restricted |= required.iter().any(|name| !properties.contains_key(*name));
        let closed = additional == Some(&Value::Bool(false));
        Ok(Kind::Struct(Object { fields, by_name, closed }))
    }
}

/// Types of a schema that does not say its type.
fn implied_types(schema: &Map<String, Value>) -> Vec<&'static str> {
    if schema.contains_key("properties") {
        return vec!["object"];
    }
    if schema.contains_key("items") {
        return vec!["array"];
    }
    let one = schema.get("const").map(std::slice::from_ref);
    let values = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(one).unwrap_or_default();
    let mut names: Vec<&'static str> = values
        .iter()
        .map(|value| match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

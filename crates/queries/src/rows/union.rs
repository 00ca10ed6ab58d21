//! The schemas of a topic's life as one set of columns.
//!
//! Owns: which column a field of a schema is (by name, by a name it had before, or by the number of its Protobuf field),
//! and which type holds the values of all schemas where Iceberg allows a column to become it.
//! Does not own: turning values (`widen`), changing the table (tables, by the same rules).
//! Invariants: adding a schema never removes a column and never narrows one; the same schemas in the same order give
//! the same columns; every column is optional, since a later schema may lack it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use tables::columns::{EXTENSION_NAME, FORMER_NAMES};

/// Structs, lists and maps lie in each other at most this deep: what lies deeper is one column for `union`, and the
/// table refuses it by name.
const DEPTH_MAX: usize = 64;

/// One column for the whole life of a topic, whatever it is called.
pub(super) type ColumnId = usize;

/// Where one schema has its columns: the index among the fields of their level.
pub(super) type Places = HashMap<ColumnId, usize>;

/// A column, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Column {
    pub(super) id: ColumnId,
    name: String,
    /// Names it had before, oldest first.
    former: Vec<String>,
    /// Message and number of its Protobuf field, by the newest schema.
    number: Option<String>,
    /// Arrow's extension type, when the first schema had one.
    extension: Option<String>,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Shape {
    Leaf(DataType),
    Struct(Vec<Column>),
    List(Box<Column>),
    /// Name of the entries; key and value; whether keys are sorted.
    Map(String, Box<[Column; 2]>, bool),
}

/// The columns of all schemas so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Union {
    columns: Vec<Column>,
    next: ColumnId,
}

/// What adding a schema has shown.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) places: Places,
    /// Fields whose type no column can take, with both types.
    pub(super) differences: Vec<String>,
}

/// A column as rows have it in the end.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) id: ColumnId,
    pub(super) field: FieldRef,
    /// Members of a struct; the element of a list; key and value of a map.
    pub(super) parts: Vec<Target>,
}

impl Union {
    /// Adds the fields of a schema: new ones become columns, known ones widen as far as Iceberg allows. The columns
    /// of the newest schema come first, in its order.
    pub(super) fn add(&mut self, fields: &Fields) -> Added {
        let mut added = Added::default();
        let mut columns = std::mem::take(&mut self.columns);
        self.level("", &mut columns, fields, 0, &mut added);
        self.columns = columns;
        added
    }

    /// The columns with their final types.
    pub(super) fn targets(&self) -> Vec<Target> {
        self.columns.iter().map(Column::target).collect()
    }

    fn level(
        &mut self,
        path: &str,
        columns: &mut Vec<Column>,
        fields: &Fields,
        depth: usize,
        added: &mut Added,
    ) {
        let mut older = std::mem::take(columns);
        for (index, field) in fields.iter().enumerate() {
            let path = join(path, field.name());
            let mut column = match find(&older, field, fields) {
                Some(at) => {
                    let mut column = older.remove(at);
                    if column.name != *field.name() {
                        column.rename(field);
                    }
                    self.merge(&path, &mut column, field.data_type(), depth, added);
                    column
                }
                None => self.column(field, depth, added),
            };
            column.remember(field);
            added.places.insert(column.id, index);
            columns.push(column);
        }
        columns.append(&mut older);
    }

    fn column(&mut self, field: &Field, depth: usize, added: &mut Added) -> Column {
        let id = self.next;
        self.next += 1;
        let mut column = Column {
            id,
            name: field.name().clone(),
            former: Vec::new(),
            number: number(field).map(str::to_owned),
            extension: field.extension_type_name().map(str::to_owned),
            shape: Shape::Leaf(field.data_type().clone()),
        };
        if depth >= DEPTH_MAX {
            return column;
        }
        let mut inner = |union: &mut Self, field: &FieldRef, at: usize| {
            let inner = union.column(field, depth + 1, added);
            added.places.insert(inner.id, at);
            inner
        };
        column.shape = match field.data_type() {
            DataType::Struct(fields) => {
                Shape::Struct(fields.iter().enumerate().map(|(at, f)| inner(self, f, at)).collect())
            }
            DataType::List(element) => Shape::List(Box::new(inner(self, element, 0))),
            DataType::Map(entries, sorted) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => {
                    let pair = [inner(self, &pair[0], 0), inner(self, &pair[1], 1)];
                    Shape::Map(entries.name().clone(), Box::new(pair), *sorted)
                }
                _ => return column,
            },
            _ => return column,
        };
        column
    }

    fn merge(&mut self, path: &str, column: &mut Column, newer: &DataType, depth: usize, added: &mut Added) {
        let merged = match (&mut column.shape, newer) {
            (Shape::Struct(columns), DataType::Struct(fields)) => {
                self.level(path, columns, fields, depth + 1, added);
                true
            }
            (Shape::List(element), DataType::List(field)) => {
                added.places.insert(element.id, 0);
                self.merge(&format!("{path}[]"), element, field.data_type(), depth + 1, added);
                true
            }
            (Shape::Map(_, pair, _), DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    let [key, value] = &mut **pair;
                    added.places.extend([(key.id, 0), (value.id, 1)]);
                    // Tables keep the type of a map's keys: see `tables::columns`.
                    if key.target().field.data_type() != fields[0].data_type() {
                        added.differences.push(difference(
                            &format!("{path}'s keys"),
                            key,
                            fields[0].data_type(),
                        ));
                    }
                    self.merge(&format!("{path}{{}}"), value, fields[1].data_type(), depth + 1, added);
                    true
                }
                _ => false,
            },
            (Shape::Leaf(older), newer) => match wider(older, newer) {
                Some(wide) => {
                    *older = wide;
                    true
                }
                None => false,
            },
            _ => false,
        };
        if !merged {
            added.differences.push(difference(path, column, newer));
        }
    }
}

/// Which of the older columns a field is: the one of its name, the one that is known by another of its names, or the one
/// whose number it has in the same Protobuf message, if its type fits. A name that another field of the same schema has
/// belongs to that one.
fn find(older: &[Column], field: &Field, fields: &Fields) -> Option<usize> {
    let named = |name: &str| older.iter().position(|c| c.name == name);
    let free = |name: &str| fields.find(name).is_none();
    named(field.name())
        .or_else(|| aliases(field).iter().filter(|name| free(name)).find_map(|name| named(name)))
        .or_else(|| older.iter().position(|c| free(&c.name) && c.former.contains(field.name())))
        .or_else(|| {
            let number = number(field)?;
            let same = |c: &Column| c.number.as_deref() == Some(number) && free(&c.name);
            older.iter().position(|c| same(c) && c.may_become(field.data_type()))
        })
}

impl Column {
    /// A newer schema calls the column otherwise. What an older schema calls it is no news.
    fn rename(&mut self, field: &Field) {
        if self.former.contains(field.name()) {
            return;
        }
        let old = std::mem::replace(&mut self.name, field.name().clone());
        self.former.push(old);
    }

    /// Whether values of a type can lie in it: of structs, lists and maps the parts are looked at when they are merged.
    fn may_become(&self, newer: &DataType) -> bool {
        match (&self.shape, newer) {
            (Shape::Leaf(older), newer) => wider(older, newer).is_some(),
            (Shape::Struct(_), DataType::Struct(_))
            | (Shape::List(_), DataType::List(_))
            | (Shape::Map(..), DataType::Map(..)) => true,
            _ => false,
        }
    }

    /// Keeps the names under which other schemas may know the column.
    fn remember(&mut self, field: &Field) {
        self.number = number(field).map(str::to_owned).or_else(|| self.number.take());
        for alias in aliases(field) {
            if alias != self.name && !self.former.contains(&alias) {
                self.former.insert(0, alias);
            }
        }
    }

    fn target(&self) -> Target {
        let optional = |t: &Target| t.field.clone();
        let (data_type, parts) = match &self.shape {
            Shape::Leaf(data_type) => (data_type.clone(), Vec::new()),
            Shape::Struct(columns) => {
                let parts: Vec<Target> = columns.iter().map(Self::target).collect();
                (DataType::Struct(parts.iter().map(optional).collect()), parts)
            }
            Shape::List(element) => {
                let element = element.target();
                (DataType::List(element.field.clone()), vec![element])
            }
            Shape::Map(entries, pair, sorted) => {
                let [mut key, value] = [pair[0].target(), pair[1].target()];
                key.field = Arc::new(key.field.as_ref().clone().with_nullable(false));
                let fields = Fields::from(vec![key.field.clone(), value.field.clone()]);
                let entries = Field::new(entries, DataType::Struct(fields), false);
                (DataType::Map(Arc::new(entries), *sorted), vec![key, value])
            }
        };
        let mut metadata = HashMap::new();
        if !self.former.is_empty() {
            metadata.insert(FORMER_NAMES.to_owned(), serde_json::json!(self.former).to_string());
        }
        metadata.extend(self.extension.clone().map(|name| (EXTENSION_NAME.to_owned(), name)));
        let field = Field::new(&self.name, data_type, true).with_metadata(metadata);
        Target { id: self.id, field: Arc::new(field), parts }
    }
}

/// Names that a field had in older schemas, newest first, as its schema tells.
fn aliases(field: &Field) -> Vec<String> {
    let text = field.metadata().get(schemas::AVRO_ALIASES_KEY);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Message and number of a Protobuf field.
fn number(field: &Field) -> Option<&str> {
    field.metadata().get(schemas::PROTOBUF_FIELD_KEY).map(String::as_str)
}

/// The type of both, when a column of the first may become it (Iceberg spec, "Schema Evolution": int to long, float to
/// double, decimals to more digits) or holds the second already.
fn wider(older: &DataType, newer: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Float32, Float64, Int32, Int64};
    match (older, newer) {
        (a, b) if a == b => Some(a.clone()),
        (Int32, Int64) | (Int64, Int32) => Some(Int64),
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (Decimal128(a, s), Decimal128(b, t)) if s == t => Some(Decimal128(*a.max(b), *s)),
        _ => None,
    }
}

fn difference(path: &str, column: &Column, newer: &DataType) -> String {
    let field = column.target().field;
    format!("column {path} is {} in the table and {} in the schema", shown(field.data_type()), shown(newer))
}

/// A type as the table calls it.
pub(super) fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Int32 => "int".into(),
        DataType::Int64 => "long".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Utf8 => "string".into(),
        DataType::Binary => "binary".into(),
        DataType::FixedSizeBinary(bytes) => format!("fixed[{bytes}]"),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Struct(_) => "a struct".into(),
        DataType::List(_) => "a list".into(),
        DataType::Map(..) => "a map".into(),
        other => other.to_string(),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
#[path = "union_tests.rs"]
mod tests;

//! Arrow to payload bytes.
//!
//! Owns: rows as JSON objects, and the JSON Schema that describes them.
//! Does not own: keys, topics.
//! Invariants: the same rows give the same bytes; what cannot be written exactly is refused, never bent.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use serde_json::{Map, Value, json};

mod writer;

use writer::ObjectWriter;

/// Rows that have no form in the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("column {column} has type {data_type}, which JSON records do not take: cast it")]
    Unsupported { column: String, data_type: String },
    /// NaN and infinities, years beyond 0000 to 9999.
    #[error("column {column} holds {value} in row {row}, which JSON has no form for: filter or replace it")]
    Value { column: String, row: usize, value: String },
}

/// Each row as one compact JSON object, columns in order, nulls left out. The same rows give the same bytes.
/// Decimals are numbers with their digits, timestamps RFC 3339 in UTC with microseconds, binary is base64.
/// A null within a list or as the value of a map's entry is written as `null`.
pub fn encode_rows(batch: &RecordBatch) -> Result<Vec<Bytes>, EncodeError> {
    let schema = batch.schema();
    let writer = ObjectWriter::new(schema.fields(), batch.columns())?;
    let mut out = Vec::with_capacity(batch.num_rows() * 64);
    let mut ends = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        writer.write(row, &mut out).map_err(|wrong| EncodeError::Value {
            column: wrong.column,
            row,
            value: wrong.value,
        })?;
        ends.push(out.len());
    }
    let all = Bytes::from(out);
    let mut start = 0;
    Ok(ends.into_iter().map(|end| all.slice(std::mem::replace(&mut start, end)..end)).collect())
}

/// The JSON Schema (draft-07) of such rows; [`crate::Decoder`] maps it back to the same columns as far as JSON can.
pub fn json_schema_of(schema: &Schema, title: &str) -> Result<String, EncodeError> {
    let mut document = Map::new();
    document.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    document.insert("title".into(), json!(title));
    object(&mut document, schema.fields(), "")?;
    Ok(Value::Object(document).to_string())
}

fn object<'f>(
    document: &mut Map<String, Value>,
    fields: impl IntoIterator<Item = &'f std::sync::Arc<Field>>,
    parent: &str,
) -> Result<(), EncodeError> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields {
        let path =
            if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
        properties.insert(field.name().clone(), described(field, &path)?);
        if !field.is_nullable() {
            required.push(json!(field.name()));
        }
    }
    document.insert("type".into(), json!("object"));
    document.insert("properties".into(), Value::Object(properties));
    if !required.is_empty() {
        document.insert("required".into(), Value::Array(required));
    }
    Ok(())
}

fn described(field: &Field, path: &str) -> Result<Value, EncodeError> {
    let mut document = of_type(field.data_type(), path)?;
    if field.is_nullable()
        && let Some(name) = document.get("type").cloned()
    {
        document.insert("type".into(), json!([name, "null"]));
    }
    Ok(Value::Object(document))
}

fn of_type(data_type: &DataType, path: &str) -> Result<Map<String, Value>, EncodeError> {
    use DataType as D;
    let document = match data_type {
        D::Boolean => json!({"type": "boolean"}),
        D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => {
            json!({"type": "integer"})
        }
        D::Float32 | D::Float64 | D::Decimal128(..) | D::Decimal256(..) => json!({"type": "number"}),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => json!({"type": "string"}),
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => {
            json!({"type": "string", "contentEncoding": "base64"})
        }
        D::Timestamp(..) => json!({"type": "string", "format": "date-time"}),
        D::Date32 | D::Date64 => json!({"type": "string", "format": "date"}),
        D::Time32(_) | D::Time64(_) => json!({"type": "string", "format": "time"}),
        D::List(items) | D::LargeList(items) | D::FixedSizeList(items, _) => {
            json!({"type": "array", "items": described(items, &format!("{path}[]"))?})
        }
        D::Struct(fields) if !fields.is_empty() => {
            let mut document = Map::new();
            object(&mut document, fields, path)?;
            return Ok(document);
        }
        D::Map(entries, _) => match entries.data_type() {
            D::Struct(fields) if fields.len() == 2 && is_text(fields[0].data_type()) => {
                let values = described(&fields[1], &format!("{path}{{}}"))?;
                json!({"type": "object", "additionalProperties": values})
            }
            _ => return Err(unsupported(path, data_type)),
        },
        D::Dictionary(_, values) => return of_type(values, path),
        _ => return Err(unsupported(path, data_type)),
    };
    match document {
        Value::Object(document) => Ok(document),
        _ => Err(unsupported(path, data_type)),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn unsupported(column: &str, data_type: &DataType) -> EncodeError {
    EncodeError::Unsupported { column: column.to_owned(), data_type: data_type.to_string() }
}

#[cfg(test)]
mod tests;

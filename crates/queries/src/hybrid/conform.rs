//! Rows of the log in the columns of a table version.
//!
//! Owns: matching columns by name; columns the table does not have yet are hidden, missing ones are null.
//! Does not own: decoding.
//! Invariants: a value never changes; a column that would need another type is refused by name.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::SqlError;

/// The batch with exactly the columns of `target`.
pub(crate) fn conform(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let mut columns = Vec::with_capacity(target.fields().len());
    for field in target.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => array(column, field.data_type(), field.name())?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(target), columns, &options)?)
}

fn array(column: &ArrayRef, target: &DataType, path: &str) -> Result<ArrayRef, SqlError> {
    if column.data_type() == target {
        return Ok(Arc::clone(column));
    }
    match (column.data_type(), target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let from = arrow::array::AsArray::as_struct(column);
            let mut children = Vec::with_capacity(fields.len());
            for field in fields {
                children.push(match from.column_by_name(field.name()) {
                    Some(child) => array(child, field.data_type(), &format!("{path}.{}", field.name()))?,
                    None => new_null_array(field.data_type(), column.len()),
                });
            }
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                children,
                from.nulls().cloned(),
                column.len(),
            )?))
        }
        (DataType::List(_), DataType::List(field)) => {
            let from: &ListArray = arrow::array::AsArray::as_list(column);
            let values = array(from.values(), field.data_type(), path)?;
            let list = ListArray::try_new(Arc::clone(field), from.offsets().clone(), values, from.nulls().cloned());
            Ok(Arc::new(list?))
        }
        (DataType::Map(..), DataType::Map(field, sorted)) => {
            let from: &MapArray = arrow::array::AsArray::as_map(column);
            let entries: ArrayRef = Arc::new(from.entries().clone());
            let entries = array(&entries, field.data_type(), path)?;
            let entries = arrow::array::AsArray::as_struct(&entries).clone();
            let map =
                MapArray::try_new(Arc::clone(field), from.offsets().clone(), entries, from.nulls().cloned(), *sorted);
            Ok(Arc::new(map?))
        }
        (from, to) if widens(from, to) => {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            Ok(cast_with_options(column, target, &strict)?)
        }
        (from, to) => Err(SqlError::new(
            "42804",
            format!("column \"{path}\" is {to} in the table and {from} in the newest records of the topic"),
        )
        .with_hint("the table takes the new type with its next commit; SET frazil.freshness = 'committed' reads without the log until then")),
    }
}

/// Whether every value of one type is the same value of the other.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    matches!(
        (from, to),
        (Null, _)
            | (Int8 | Int16, Int32 | Int64)
            | (Int32, Int64)
            | (Float32, Float64)
            | (Utf8 | Utf8View | LargeUtf8, Utf8 | LargeUtf8)
            | (Binary | BinaryView | LargeBinary, Binary | LargeBinary)
    ) || match (from, to) {
        (Timestamp(a, Some(_)), Timestamp(b, Some(_))) => a == b,
        // As the table's writer does: the time in UTC.
        (Timestamp(a, Some(zone)), Timestamp(b, None)) => a == b && zone.as_ref() == "+00:00",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Fields, Int64Type, Schema};

    fn batch() -> RecordBatch {
        let inner: Fields = vec![Field::new("offset", DataType::Int32, false)].into();
        let meta = StructArray::new(inner.clone(), vec![Arc::new(Int32Array::from(vec![5, 6]))], None);
        let schema = Schema::new(vec![
            Field::new("new", DataType::Utf8, true),
            Field::new("meta", DataType::Struct(inner), false),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(StringArray::from(vec!["a", "b"])), Arc::new(meta)],
        )
        .unwrap()
    }

    #[test]
    fn columns_are_matched_by_name_at_every_level() {
        let inner: Fields =
            vec![Field::new("offset", DataType::Int64, true), Field::new("key", DataType::Binary, true)]
                .into();
        let target = Arc::new(Schema::new(vec![
            Field::new("meta", DataType::Struct(inner), true),
            Field::new("missing", DataType::Int64, true),
        ]));
        let out = conform(&batch(), &target).unwrap();
        assert_eq!(out.schema(), target, "the column that the table does not have is hidden");
        let meta = out.column(0).as_struct();
        assert_eq!(meta.column(0).as_primitive::<Int64Type>(), &Int64Array::from(vec![5, 6]));
        assert_eq!(meta.column(1).null_count(), 2);
        assert_eq!(out.column(1).null_count(), 2);
    }

    #[test]
    fn another_type_is_refused_by_name() {
        let target = Arc::new(Schema::new(vec![Field::new("new", DataType::Int64, true)]));
        let error = conform(&batch(), &target).unwrap_err();
        assert_eq!(error.sqlstate, "42804");
        assert!(error.message.contains("\"new\""), "{error}");
    }
}

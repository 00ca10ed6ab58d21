//! Rows in the table's columns.
//!
//! Owns: matching columns, nulls for missing optional ones, casts that lose nothing.
//! Invariants: the result has exactly the table's Arrow schema; a column of new rows that the table does not have is
//! refused, for it would be lost. Rows of the table's own files are matched by field id alone: a column that was
//! renamed is the same one, and one that was dropped is gone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::WriteError;

/// Zone of all timestamps that have one.
const UTC: &str = "+00:00";

/// What makes a column of the rows and one of the table the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    /// Rows from outside know names only.
    ByName,
    /// Rows of the table's own data files.
    ById,
}

impl Matching {
    fn same(self, have: &FieldRef, want: &FieldRef) -> bool {
        match self {
            Self::ByName => have.name() == want.name(),
            Self::ById => field_id(have).is_some_and(|id| Some(id) == field_id(want)),
        }
    }
}

fn field_id(field: &FieldRef) -> Option<&str> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).map(String::as_str)
}

pub(crate) fn align(
    batch: &RecordBatch,
    table: &SchemaRef,
    matching: Matching,
) -> Result<RecordBatch, WriteError> {
    if batch.schema_ref().fields() == table.fields() {
        return Ok(RecordBatch::try_new(Arc::clone(table), batch.columns().to_vec())?);
    }
    let rows = batch.num_rows();
    let have =
        Level { path: "", fields: batch.schema_ref().fields(), columns: batch.columns(), nulls: None, rows };
    let columns = fields(&have, table.fields(), matching)?;
    Ok(RecordBatch::try_new(Arc::clone(table), columns)?)
}

fn mismatch(path: &str, table: impl ToString, rows: impl ToString) -> WriteError {
    WriteError::SchemaMismatch { column: path.to_owned(), table: table.to_string(), rows: rows.to_string() }
}

/// The columns of a batch, or the fields of a struct.
struct Level<'a> {
    path: &'a str,
    fields: &'a Fields,
    columns: &'a [ArrayRef],
    /// Where the struct itself is null: there its required fields may be, too.
    nulls: Option<&'a NullBuffer>,
    rows: usize,
}

fn fields(have: &Level<'_>, want: &Fields, matching: Matching) -> Result<Vec<ArrayRef>, WriteError> {
    let unknown = |h: &&FieldRef| want.iter().all(|w| !matching.same(h, w));
    if let Some(extra) = have.fields.iter().find(unknown).filter(|_| matching == Matching::ByName) {
        return Err(mismatch(&join(have.path, extra.name()), "no such column", extra.data_type()));
    }
    let mut aligned = Vec::with_capacity(want.len());
    for field in want {
        let path = join(have.path, field.name());
        let column = match have.fields.iter().position(|h| matching.same(h, field)) {
            Some(at) => value(&path, &have.columns[at], have.nulls, field, matching)?,
            None if field.is_nullable() => new_null_array(field.data_type(), have.rows),
            None => {
                return Err(mismatch(&path, format!("{}, required", field.data_type()), "no such column"));
            }
        };
        aligned.push(column);
    }
    Ok(aligned)
}

fn value(
    path: &str,
    column: &ArrayRef,
    parent: Option<&NullBuffer>,
    want: &FieldRef,
    matching: Matching,
) -> Result<ArrayRef, WriteError> {
    if !want.is_nullable()
        && let Some(nulls) = column.logical_nulls().filter(|n| n.null_count() > 0)
        && !parent.is_some_and(|parent| parent.contains(&nulls))
    {
        return Err(mismatch(path, format!("{}, required", want.data_type()), "null"));
    }
    if column.data_type() == want.data_type() {
        return Ok(Arc::clone(column));
    }
    let refuse = || mismatch(path, want.data_type(), column.data_type());
    match (column.data_type(), want.data_type()) {
        (DataType::Struct(have), DataType::Struct(wanted)) => {
            let rows = column.as_struct();
            let (nulls, len) = (rows.nulls(), rows.len());
            let have = Level { path, fields: have, columns: rows.columns(), nulls, rows: len };
            let columns = fields(&have, wanted, matching)?;
            let made = StructArray::try_new_with_length(wanted.clone(), columns, nulls.cloned(), len);
            Ok(Arc::new(made.map_err(|e| mismatch(path, want.data_type(), e))?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = column.as_list::<i32>();
            let values = value(&join(path, "element"), list.values(), None, element, matching)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, nulls)?))
        }
        (DataType::LargeList(from) | DataType::FixedSizeList(from, _), DataType::List(_)) => {
            let list = cast(column, &DataType::List(Arc::clone(from))).map_err(|_| refuse())?;
            value(path, &list, parent, want, matching)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let DataType::Struct(pair) = entries.data_type() else { return Err(refuse()) };
            let [key, item] = &pair[..] else { return Err(refuse()) };
            let map = column.as_map();
            let keys = value(&join(path, "key"), map.keys(), None, key, matching)?;
            let values = value(&join(path, "value"), map.values(), None, item, matching)?;
            let pairs = StructArray::try_new(pair.clone(), vec![keys, values], None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?))
        }
        (have, wanted) if lossless(have, wanted) => cast(column, wanted).map_err(|_| refuse()),
        _ => Err(refuse()),
    }
}

/// Casts that keep every value.
fn lossless(have: &DataType, want: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Decimal128, Dictionary, Float16, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeUtf8, Null, Timestamp, UInt8, UInt16, UInt32, Utf8, Utf8View,
    };
    match (have, want) {
        (Null, _) => true,
        (Dictionary(_, values), want) => values.as_ref() == want || lossless(values, want),
        (Int8 | Int16 | UInt8 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64) => true,
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (LargeUtf8 | Utf8View, Utf8) => true,
        (Binary | BinaryView, LargeBinary) => true,
        // Both count from 1970 in UTC: the zone is only shown.
        (Timestamp(have, Some(_)), Timestamp(want, Some(_))) => have == want,
        // A column without a zone shows the time in UTC.
        (Timestamp(have, Some(zone)), Timestamp(want, None)) => have == want && zone.as_ref() == UTC,
        (Decimal128(have, s), Decimal128(want, scale)) => have <= want && s == scale,
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

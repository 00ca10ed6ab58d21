//! What a footer says about a file's columns: counts, sizes, bounds.
//!
//! Owns: Iceberg's metrics of a data file, out of Parquet's footer.
//! Invariants: a bound holds for every value of the column, in every row group, or is left out. Parquet's truncated
//! statistics are bounds too and must not be skipped; a column with NaN has no bounds, for engines order NaN
//! differently.

use std::collections::{HashMap, HashSet};

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, SchemaRef};
use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::WriteError;
use crate::columns::schema_by_ids;

/// Most characters (strings) or bytes (binary) of a bound, as Iceberg's default `truncate(16)`.
const BOUND_LENGTH: usize = 16;

/// NaN values by field id.
pub(super) type NanCounts = HashMap<i32, u64>;

/// Everything but path, partition and size.
pub(super) fn metrics(
    footer: &ParquetMetaData,
    schema: &SchemaRef,
    nans: &NanCounts,
) -> Result<DataFileBuilder, WriteError> {
    let schema = schema_by_ids(schema).map_err(|e| WriteError::Parquet(e.to_string()))?;
    let (mut sizes, mut values, mut nulls) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut bounds = Bounds::default();
    for group in footer.row_groups() {
        for chunk in group.columns() {
            let info = chunk.column_descr().self_type().get_basic_info();
            if !info.has_id() {
                continue;
            }
            let id = info.id();
            *sizes.entry(id).or_insert(0) += chunk.compressed_size() as u64;
            // Inside lists and maps a chunk counts elements, not rows: such figures would mislead.
            if chunk.column_descr().max_rep_level() > 0 {
                continue;
            }
            *values.entry(id).or_insert(0) += chunk.num_values() as u64;
            match chunk.statistics().and_then(|s| s.null_count_opt()) {
                Some(count) => *nulls.entry(id).or_insert(0) += count,
                None => bounds.drop(id),
            }
            bounds.widen(id, chunk, &schema);
        }
    }
    for id in nans.iter().filter(|(_, count)| **count > 0).map(|(id, _)| *id) {
        bounds.drop(id);
    }
    let (lower, upper) = bounds.finish();
    let splits =
        footer.row_groups().iter().filter_map(|g| g.columns().first()).map(|c| c.byte_range().0 as i64);
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_format(DataFileFormat::Parquet)
        .record_count(footer.file_metadata().num_rows().max(0) as u64)
        .column_sizes(sizes)
        .value_counts(values)
        .null_value_counts(nulls)
        .nan_value_counts(nans.clone())
        .lower_bounds(lower)
        .upper_bounds(upper)
        .split_offsets(Some(splits.collect()));
    Ok(builder)
}

#[derive(Default)]
struct Bounds {
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
    /// Columns where a row group keeps quiet about its values.
    dropped: HashSet<i32>,
}

impl Bounds {
    fn drop(&mut self, id: i32) {
        self.dropped.insert(id);
    }

    fn widen(&mut self, id: i32, chunk: &ColumnChunkMetaData, schema: &Schema) {
        let Some(statistics) = chunk.statistics() else { return self.drop(id) };
        if statistics.null_count_opt() == Some(chunk.num_values() as u64) {
            return;
        }
        let primitive = schema.field_by_id(id).and_then(|f| match f.field_type.as_ref() {
            Type::Primitive(primitive) => Some(primitive),
            _ => None,
        });
        let Some(primitive) = primitive else { return self.drop(id) };
        let read = |bytes: Option<&[u8]>| bytes.and_then(|b| datum(b, primitive, chunk.column_type()));
        let bounds = (read(statistics.min_bytes_opt()), read(statistics.max_bytes_opt()));
        let (Some(min), Some(max)) = bounds else { return self.drop(id) };
        // Values of one column always compare; if not, there is no bound to keep.
        let keep_lower = |old: Option<&Datum>| old.is_none_or(|old| min < *old);
        let keep_upper = |old: Option<&Datum>| old.is_none_or(|old| max > *old);
        if keep_lower(self.lower.get(&id)) {
            self.lower.insert(id, min);
        }
        if keep_upper(self.upper.get(&id)) {
            self.upper.insert(id, max);
        }
    }

    fn finish(self) -> (HashMap<i32, Datum>, HashMap<i32, Datum>) {
        let Self { lower, upper, dropped } = self;
        let kept = |id: &i32| !dropped.contains(id);
        let lower = lower.into_iter().filter(|(id, _)| kept(id));
        let upper = upper.into_iter().filter(|(id, _)| kept(id));
        (
            lower.map(|(id, datum)| (id, shorten_lower(datum))).collect(),
            upper.filter_map(|(id, datum)| shorten_upper(datum).map(|d| (id, d))).collect(),
        )
    }
}

/// A statistic in Parquet's form as a value of the column.
fn datum(bytes: &[u8], primitive: &PrimitiveType, physical: PhysicalType) -> Option<Datum> {
    match (primitive, physical) {
        // Parquet keeps small decimals as little-endian integers, Iceberg all of them big-endian.
        (PrimitiveType::Decimal { .. }, PhysicalType::INT32 | PhysicalType::INT64) => {
            let big: Vec<u8> = bytes.iter().rev().copied().collect();
            Datum::try_from_bytes(&big, primitive.clone()).ok()
        }
        // A truncated bound of a fixed length is no value of the type.
        (PrimitiveType::Fixed(length), _) if *length != bytes.len() as u64 => None,
        (PrimitiveType::Uuid, _) if bytes.len() != 16 => None,
        (PrimitiveType::Float | PrimitiveType::Double, _) => {
            Datum::try_from_bytes(bytes, primitive.clone()).ok().filter(|d| !d.is_nan())
        }
        _ => Datum::try_from_bytes(bytes, primitive.clone()).ok(),
    }
}

fn shorten_lower(datum: Datum) -> Datum {
    use iceberg::spec::PrimitiveLiteral::{Binary, String};
    match (datum.data_type(), datum.literal()) {
        (PrimitiveType::String, String(s)) if s.chars().nth(BOUND_LENGTH).is_some() => {
            Datum::string(s.chars().take(BOUND_LENGTH).collect::<std::string::String>())
        }
        (PrimitiveType::Binary, Binary(b)) if b.len() > BOUND_LENGTH => {
            Datum::binary(b[..BOUND_LENGTH].iter().copied())
        }
        _ => datum,
    }
}

/// None when nothing short is above.
fn shorten_upper(datum: Datum) -> Option<Datum> {
    use iceberg::spec::PrimitiveLiteral::{Binary, String};
    match (datum.data_type(), datum.literal()) {
        (PrimitiveType::String, String(s)) if s.chars().nth(BOUND_LENGTH).is_some() => {
            next_string(s.chars().take(BOUND_LENGTH).collect()).map(Datum::string)
        }
        (PrimitiveType::Binary, Binary(b)) if b.len() > BOUND_LENGTH => {
            next_bytes(b[..BOUND_LENGTH].to_vec()).map(Datum::binary)
        }
        _ => Some(datum),
    }
}

/// The smallest string of at most this length above everything that begins with these characters.
fn next_string(mut chars: Vec<char>) -> Option<String> {
    while let Some(last) = chars.pop() {
        // Code points skip the surrogates.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            c => char::from_u32(u32::from(c) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn next_bytes(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

/// Adds the NaN values of a column and the structs below it.
pub(super) fn count_nans(counts: &mut NanCounts, field: &Field, column: &ArrayRef) {
    let nans = match field.data_type() {
        DataType::Struct(fields) => {
            for (field, column) in fields.iter().zip(column.as_struct().columns()) {
                count_nans(counts, field, column);
            }
            return;
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            values.iter().flatten().filter(|v| v.is_nan()).count()
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            values.iter().flatten().filter(|v| v.is_nan()).count()
        }
        _ => return,
    };
    let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok());
    if let Some(id) = id {
        *counts.entry(id).or_insert(0) += nans as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bounds_are_above_or_absent() {
        assert_eq!(next_string("ab".chars().collect()), Some("ac".into()));
        assert_eq!(next_string(vec!['a', char::MAX]), Some("b".into()));
        assert_eq!(next_string(vec!['\u{d7ff}']), Some("\u{e000}".into()));
        assert_eq!(next_string(vec![char::MAX; 16]), None);
        assert_eq!(next_bytes(vec![1, 0xff]), Some(vec![2]));
        assert_eq!(next_bytes(vec![0xff; 16]), None);
        assert_eq!(shorten_upper(Datum::string("x".repeat(16))), Some(Datum::string("x".repeat(16))));
    }
}

//! Rows by partition.
//!
//! Owns: partition values (Iceberg's transforms), the order of parts, the directory of a partition.
//! Invariants: all rows of a part have the same partition value; a directory is one harmless name per field.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::{arrow_primitive_to_literal, type_to_arrow_type};
use iceberg::spec::{
    Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema, Struct, Transform, Type,
};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};

use super::WriteError;

/// Most characters of a partition value in a directory name.
const SHOWN_MAX: usize = 64;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970, both ways, that the library's calendar reaches for certain.
const CALENDAR_DAYS_MAX: u32 = 90_000_000;

/// Splits rows by the values of one partition spec.
#[derive(Debug)]
pub(super) struct Splitter {
    fields: Vec<SplitField>,
}

#[derive(Debug)]
struct SplitField {
    name: String,
    /// Names from the top-level column down to the source.
    path: Vec<String>,
    transform: Transform,
    function: BoxedTransformFunction,
    result: Type,
    result_arrow: DataType,
}

impl Splitter {
    pub(super) fn new(spec: &PartitionSpec, schema: &Schema) -> Result<Self, WriteError> {
        let mut fields = Vec::new();
        for field in spec.fields() {
            let unknown = || WriteError::Parquet(format!("partition field {} has no source", field.name));
            let source = schema.field_by_id(field.source_id).ok_or_else(unknown)?;
            let path = path_to(schema.as_struct().fields(), field.source_id).ok_or_else(unknown)?;
            let result = field.transform.result_type(&source.field_type)?;
            fields.push(SplitField {
                name: field.name.clone(),
                path,
                transform: field.transform,
                function: create_transform_function(&field.transform)?,
                result_arrow: type_to_arrow_type(&result)?,
                result,
            });
        }
        Ok(Self { fields })
    }

    /// The parts of `batch`, sorted by partition value; rows keep their order within a part.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<(Struct, RecordBatch)>, WriteError> {
        let values = self.fields.iter().map(|f| f.values(batch)).collect::<Result<Vec<_>, _>>()?;
        let sorts = self.fields.iter().map(|f| SortField::new(f.result_arrow.clone())).collect();
        let rows = RowConverter::new(sorts)?.convert_columns(&values)?;
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let same = |a: u32, b: u32| rows.row(a as usize) == rows.row(b as usize);
        if order.windows(2).all(|w| same(w[0], w[1])) {
            return Ok(vec![(self.partition(&values, 0)?, batch.clone())]);
        }
        order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
        let mut parts = Vec::new();
        for part in order.chunk_by(|a, b| same(*a, *b)) {
            let partition = self.partition(&values, part[0] as usize)?;
            parts.push((partition, take_record_batch(batch, &UInt32Array::from(part.to_vec()))?));
        }
        Ok(parts)
    }

    fn partition(&self, values: &[ArrayRef], row: usize) -> Result<Struct, WriteError> {
        let mut literals = Vec::with_capacity(self.fields.len());
        for (field, values) in self.fields.iter().zip(values) {
            let literal = arrow_primitive_to_literal(&values.slice(row, 1), &field.result)?;
            literals.push(literal.into_iter().next().flatten());
        }
        Ok(Struct::from_iter(literals))
    }

    /// `symbol=AAPL/ts_hour=483921/`. Only for people: readers take partition values from manifests.
    pub(super) fn directory(&self, partition: &Struct) -> String {
        let mut directory = String::new();
        for (field, value) in self.fields.iter().zip(partition.iter()) {
            directory.push_str(&harmless(&field.name));
            directory.push('=');
            directory.push_str(&harmless(&field.show(value)));
            directory.push('/');
        }
        directory
    }
}

impl SplitField {
    fn values(&self, batch: &RecordBatch) -> Result<ArrayRef, WriteError> {
        let mut source = column(batch, &self.path)?;
        // Iceberg's truncate knows 32-bit offsets only.
        if source.data_type() == &DataType::LargeBinary {
            source = cast(&source, &DataType::Binary)?;
        }
        let values = match exact(self.transform, &source) {
            Some(values) => values,
            None => self.function.transform(source)?,
        };
        match values.data_type() == &self.result_arrow {
            true => Ok(values),
            false => Ok(cast(&values, &self.result_arrow)?),
        }
    }

    /// The library panics on times that its calendar does not reach, and on fractions of seconds before 1970: clients
    /// send both. They are shown as numbers.
    fn show(&self, value: Option<&Literal>) -> String {
        let Type::Primitive(primitive) = &self.result else { return String::new() };
        match (primitive, value.and_then(Literal::as_primitive_literal)) {
            (PrimitiveType::Date, Some(PrimitiveLiteral::Int(days)))
                if days.unsigned_abs() > CALENDAR_DAYS_MAX =>
            {
                days.to_string()
            }
            (PrimitiveType::Timestamp | PrimitiveType::Timestamptz, Some(PrimitiveLiteral::Long(micros)))
                if micros < 0 || micros / MICROS_PER_DAY > i64::from(CALENDAR_DAYS_MAX) =>
            {
                micros.to_string()
            }
            _ => self.transform.to_human_string(&self.result, value),
        }
    }
}

/// Transforms that the library gets wrong at the edges: days of times before 1970 that are no whole seconds, and
/// truncated numbers near the smallest one, which overflow.
fn exact(transform: Transform, source: &ArrayRef) -> Option<ArrayRef> {
    match (transform, source.data_type()) {
        (Transform::Day, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let times = source.as_primitive::<TimestampMicrosecondType>();
            Some(Arc::new(times.unary::<_, Date32Type>(|v| v.div_euclid(MICROS_PER_DAY) as i32)))
        }
        (Transform::Truncate(width), DataType::Int32) => {
            let width = i32::try_from(width).ok()?;
            let numbers = source.as_primitive::<Int32Type>();
            Some(Arc::new(numbers.unary::<_, Int32Type>(|v| v.wrapping_sub(v.rem_euclid(width)))))
        }
        (Transform::Truncate(width), DataType::Int64) => {
            let (width, numbers) = (i64::from(width), source.as_primitive::<Int64Type>());
            Some(Arc::new(numbers.unary::<_, Int64Type>(|v| v.wrapping_sub(v.rem_euclid(width)))))
        }
        _ => None,
    }
}

/// A column by its path; null where a struct on the way is null.
fn column(batch: &RecordBatch, path: &[String]) -> Result<ArrayRef, WriteError> {
    let missing = || WriteError::Parquet(format!("rows have no column {}", path.join(".")));
    let (first, rest) = path.split_first().ok_or_else(missing)?;
    let mut array = Arc::clone(batch.column_by_name(first).ok_or_else(missing)?);
    for name in rest {
        let parent = array.as_struct_opt().ok_or_else(missing)?;
        let child = parent.column_by_name(name).ok_or_else(missing)?;
        let nulls = NullBuffer::union(parent.nulls(), child.nulls());
        array = match parent.nulls() {
            None => Arc::clone(child),
            Some(_) => arrow::array::make_array(child.to_data().into_builder().nulls(nulls).build()?),
        };
    }
    Ok(array)
}

fn path_to(fields: &[iceberg::spec::NestedFieldRef], id: i32) -> Option<Vec<String>> {
    for field in fields {
        if field.id == id {
            return Some(vec![field.name.clone()]);
        }
        if let Type::Struct(inner) = field.field_type.as_ref()
            && let Some(mut path) = path_to(inner.fields(), id)
        {
            path.insert(0, field.name.clone());
            return Some(path);
        }
    }
    None
}

/// Letters, digits and a few signs stay; whatever a path could trip over becomes `_`.
fn harmless(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(SHOWN_MAX) {
        let keep =
            c.is_ascii_alphanumeric() || c == '-' || (c == '.' && !name.is_empty() && !name.ends_with('.'));
        name.push(if keep { c } else { '_' });
    }
    name
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn edges_are_exact() {
        const DAY: i64 = 86_400_000_000;
        let times = [0, -1, 1, -DAY, -DAY - 1, -DAY - 500_000, -DAY + 1, DAY, DAY - 1, -500_000];
        let source: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        let days = exact(Transform::Day, &source).expect("days");
        let days = days.as_primitive::<Date32Type>().values().to_vec();
        assert_eq!(days, [0, -1, 0, -1, -2, -2, -1, 1, 0, -1]);
        let source: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, -1, 0, 19]));
        let cut = exact(Transform::Truncate(10), &source).expect("numbers");
        assert_eq!(&cut.as_primitive::<Int64Type>().values()[2..], [-10, 0, 10]);
        let source: ArrayRef = Arc::new(Int32Array::from(vec![i32::MIN, -11]));
        let cut = exact(Transform::Truncate(10), &source).expect("numbers");
        assert_eq!(cut.as_primitive::<Int32Type>().value(1), -20);
    }

    #[test]
    fn directories_are_harmless() {
        for (value, shown) in [
            ("BRK.B", "BRK.B"),
            ("../../etc", "_.__.__etc"),
            ("..", "_."),
            ("a/b\\c\0d%2F", "a_b_c_d_2F"),
            ("2026-11-21", "2026-11-21"),
            ("", ""),
        ] {
            let got = harmless(value);
            assert!(!got.contains("..") && !got.contains('/'), "{got}");
            if value != "../../etc" && value != ".." {
                assert_eq!(got, shown);
            }
        }
        assert_eq!(harmless(&"x".repeat(1000)).len(), SHOWN_MAX);
    }
}

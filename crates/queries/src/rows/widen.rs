//! Rows of one schema in the columns of another.
//!
//! Owns: adding columns, turning values to a column's type where nothing is lost.
//! Does not own: which columns there are (`layout`).
//! Invariants: a value is turned exactly, or its row does not fit; what fits stays in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    StructArray, new_null_array,
};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Fields, Float64Type, Int64Type};

/// Columns in new types.
pub(super) struct Widened {
    /// Without the rows that do not fit.
    pub(super) columns: Vec<ArrayRef>,
    /// Rows that do not fit, ascending, and why.
    pub(super) misfits: Vec<(usize, String)>,
}

/// Rows and what is wrong with them.
type Wrong = BTreeMap<usize, String>;

/// Whole numbers up to here are doubles too, each its own.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Turns a batch to `fields`, by name.
pub(super) fn columns(batch: &RecordBatch, fields: &Fields) -> Widened {
    let rows = batch.num_rows();
    let mut wrong = Wrong::new();
    let columns: Vec<ArrayRef> = fields
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), rows),
            Some(column) => turned(column, field.data_type(), field.name(), &mut wrong),
        })
        .collect();
    if wrong.is_empty() {
        return Widened { columns, misfits: Vec::new() };
    }
    let fits: BooleanArray = (0..rows).map(|row| Some(!wrong.contains_key(&row))).collect();
    let columns = columns
        .iter()
        .map(|column| filter(column, &fits).expect("the mask has a bit for each row"))
        .collect();
    Widened { columns, misfits: wrong.into_iter().collect() }
}

fn turned(array: &ArrayRef, target: &DataType, path: &str, wrong: &mut Wrong) -> ArrayRef {
    if array.data_type() == target {
        return array.clone();
    }
    match (array.data_type(), target) {
        (DataType::Int64, DataType::Float64) => doubles(array, path, wrong),
        (DataType::Float64, DataType::Int64) => integers(array, path, wrong),
        (DataType::Struct(_), DataType::Struct(fields)) => members(array, fields, path, wrong),
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let mut inner = Wrong::new();
            let items = turned(list.values(), element.data_type(), &format!("{path}[]"), &mut inner);
            raise(inner, list.offsets(), wrong);
            Arc::new(ListArray::new(element.clone(), list.offsets().clone(), items, list.nulls().cloned()))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return unfit(array, target, path, wrong);
            };
            let mut inner = Wrong::new();
            let whole: ArrayRef = Arc::new(map.entries().clone());
            let turned = members(&whole, fields, &format!("{path}{{}}"), &mut inner);
            raise(inner, map.offsets(), wrong);
            let turned = turned.as_struct().clone();
            Arc::new(MapArray::new(
                entries.clone(),
                map.offsets().clone(),
                turned,
                map.nulls().cloned(),
                *sorted,
            ))
        }
        _ => unfit(array, target, path, wrong),
    }
}

/// What is wrong within a list is wrong with its row.
fn raise(inner: Wrong, offsets: &[i32], wrong: &mut Wrong) {
    for (item, why) in inner {
        let row = offsets.partition_point(|offset| *offset as usize <= item).saturating_sub(1);
        wrong.entry(row).or_insert(why);
    }
}

fn members(array: &ArrayRef, fields: &Fields, path: &str, wrong: &mut Wrong) -> ArrayRef {
    let from = array.as_struct();
    let children = fields
        .iter()
        .map(|field| match from.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), from.len()),
            Some(child) => turned(child, field.data_type(), &format!("{path}.{}", field.name()), wrong),
        })
        .collect();
    Arc::new(StructArray::new(fields.clone(), children, from.nulls().cloned()))
}

fn doubles(array: &ArrayRef, path: &str, wrong: &mut Wrong) -> ArrayRef {
    let from = array.as_primitive::<Int64Type>();
    let mut out = Vec::with_capacity(from.len());
    for (row, value) in from.iter().enumerate() {
        if let Some(value) = value.filter(|v| v.unsigned_abs() > WHOLE_MAX as u64) {
            wrong.entry(row).or_insert_with(|| misfit(path, &value.to_string(), &DataType::Float64));
        }
        out.push(value.map(|v| v as f64));
    }
    Arc::new(Float64Array::from(out))
}

fn integers(array: &ArrayRef, path: &str, wrong: &mut Wrong) -> ArrayRef {
    let from = array.as_primitive::<Float64Type>();
    let mut out = Vec::with_capacity(from.len());
    for (row, value) in from.iter().enumerate() {
        if let Some(value) = value.filter(|v| v.fract() != 0.0 || v.abs() > WHOLE_MAX) {
            wrong.entry(row).or_insert_with(|| misfit(path, &value.to_string(), &DataType::Int64));
        }
        out.push(value.map(|v| v as i64));
    }
    Arc::new(Int64Array::from(out))
}

/// Types that have nothing to do with each other: only nulls fit.
fn unfit(array: &ArrayRef, target: &DataType, path: &str, wrong: &mut Wrong) -> ArrayRef {
    for row in 0..array.len() {
        if array.is_valid(row) {
            let found = array.data_type().to_string();
            wrong.entry(row).or_insert_with(|| misfit(path, &format!("a value of type {found}"), target));
        }
    }
    new_null_array(target, array.len())
}

fn misfit(path: &str, found: &str, target: &DataType) -> String {
    format!(
        "field `{path}`: the table's column has type {target} since an earlier schema; {found} does not fit"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::Field;

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("c", column, true)]).expect("batch")
    }

    #[test]
    fn numbers_turn_when_nothing_is_lost() {
        let from = batch(Arc::new(Float64Array::from(vec![Some(1.0), Some(1.5), None, Some(1e300)])));
        let widened = columns(&from, &vec![field("c", DataType::Int64), field("n", DataType::Utf8)].into());
        assert_eq!(widened.columns[0].as_ref(), &Int64Array::from(vec![Some(1), None]));
        assert_eq!(widened.columns[1].null_count(), 2);
        let rows: Vec<usize> = widened.misfits.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [1, 3]);
        assert!(widened.misfits[0].1.contains("field `c`") && widened.misfits[0].1.contains("1.5"));

        let from = batch(Arc::new(Int64Array::from(vec![3, i64::MAX])));
        let widened = columns(&from, &vec![field("c", DataType::Float64)].into());
        assert_eq!(widened.columns[0].as_ref(), &Float64Array::from(vec![3.0]));
    }

    #[test]
    fn unlike_types_take_nulls_only() {
        let from = batch(Arc::new(StringArray::from(vec![None, Some("x")])));
        let widened = columns(&from, &vec![field("c", DataType::Int32)].into());
        assert_eq!(widened.columns[0].as_ref(), &Int32Array::from(vec![None]));
        assert_eq!(widened.misfits[0].0, 1);
    }

    #[test]
    fn what_is_wrong_in_a_list_is_wrong_with_its_row() {
        let from = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![]),
            None,
            Some(vec![Some(3.0), Some(0.5)]),
            Some(vec![Some(4.0)]),
        ]);
        let target = DataType::List(Arc::new(field("element", DataType::Int64)));
        let widened = columns(&batch(Arc::new(from)), &vec![field("c", target)].into());
        let rows: Vec<usize> = widened.misfits.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [3]);
        let list = widened.columns[0].as_list::<i32>();
        assert_eq!(list.len(), 4);
        assert_eq!(list.value(3).as_ref(), &Int64Array::from(vec![4]));
        assert!(list.is_null(2));
    }
}

//! Rows of one schema in the columns of all of them.
//!
//! Owns: adding columns, turning values to a column's type where nothing is lost.
//! Does not own: which columns there are (`union`).
//! Invariants: a value is turned exactly, or its row does not fit; what fits stays in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array,
};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options, filter};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::union::{Places, Target, shown};

/// Columns in new types.
pub(super) struct Widened {
    /// Without the rows that do not fit.
    pub(super) columns: Vec<ArrayRef>,
    /// Rows that do not fit, ascending, and why.
    pub(super) misfits: Vec<(usize, String)>,
}

/// Rows and what is wrong with them.
type Wrong = BTreeMap<usize, String>;

/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 64;

/// Turns a batch of one schema to the columns of all.
pub(super) fn columns(batch: &RecordBatch, targets: &[Target], places: &Places) -> Widened {
    let rows = batch.num_rows();
    let mut wrong = Wrong::new();
    let columns: Vec<ArrayRef> = targets
        .iter()
        .map(|target| match places.get(&target.id) {
            None => new_null_array(target.field.data_type(), rows),
            Some(at) => turned(batch.column(*at), target, places, target.field.name(), &mut wrong),
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

fn turned(array: &ArrayRef, target: &Target, places: &Places, path: &str, wrong: &mut Wrong) -> ArrayRef {
    let wanted = target.field.data_type();
    if array.data_type() == wanted {
        return array.clone();
    }
    match (array.data_type(), wanted) {
        (DataType::Struct(_), DataType::Struct(_)) => members(array, target, places, path, wrong),
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let mut inner = Wrong::new();
            let items = turned(list.values(), &target.parts[0], places, &format!("{path}[]"), &mut inner);
            raise(inner, list.offsets(), wrong);
            Arc::new(ListArray::new(element.clone(), list.offsets().clone(), items, list.nulls().cloned()))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let DataType::Struct(pair) = entries.data_type() else {
                return unfit(array, wanted, path, wrong);
            };
            let mut inner = Wrong::new();
            let keys = turned(map.keys(), &target.parts[0], places, &format!("{path}'s keys"), &mut inner);
            let values = turned(map.values(), &target.parts[1], places, &format!("{path}{{}}"), &mut inner);
            let keyed = inner.is_empty() || keys.null_count() == 0;
            raise(inner, map.offsets(), wrong);
            if !keyed {
                return new_null_array(wanted, array.len());
            }
            let pairs = StructArray::new(pair.clone(), vec![keys, values], None);
            Arc::new(MapArray::new(
                entries.clone(),
                map.offsets().clone(),
                pairs,
                map.nulls().cloned(),
                *sorted,
            ))
        }
        (from, to) if exactly(from, to) => leaf(array, to, path, wrong),
        _ => unfit(array, wanted, path, wrong),
    }
}

/// What is wrong within a list is wrong with its row.
fn raise(inner: Wrong, offsets: &[i32], wrong: &mut Wrong) {
    for (item, why) in inner {
        let row = offsets.partition_point(|offset| *offset as usize <= item).saturating_sub(1);
        wrong.entry(row).or_insert(why);
    }
}

fn members(array: &ArrayRef, target: &Target, places: &Places, path: &str, wrong: &mut Wrong) -> ArrayRef {
    let from = array.as_struct();
    let children = target
        .parts
        .iter()
        .map(|part| match places.get(&part.id) {
            None => new_null_array(part.field.data_type(), from.len()),
            Some(at) => {
                turned(from.column(*at), part, places, &format!("{path}.{}", part.field.name()), wrong)
            }
        })
        .collect();
    let fields = target.parts.iter().map(|part| part.field.clone()).collect();
    Arc::new(StructArray::new(fields, children, from.nulls().cloned()))
}

/// Types between which some or all values are the same.
fn exactly(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Decimal128, Float32, Float64, Int32, Int64, Utf8};
    match (from, to) {
        (Int32 | Int64 | Float32 | Float64, Int32 | Int64 | Float32 | Float64) => true,
        (Decimal128(_, a), Decimal128(_, b)) => a == b,
        (Utf8, Binary) | (Binary, Utf8) => true,
        _ => false,
    }
}

/// Turns values, and back again: what is not the same then has lost something.
fn leaf(array: &ArrayRef, to: &DataType, path: &str, wrong: &mut Wrong) -> ArrayRef {
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let there = cast_with_options(array, to, &safe);
    let back = there
        .as_ref()
        .map_err(|_| ())
        .and_then(|there| cast_with_options(there, array.data_type(), &safe).map_err(|_| ()));
    let (Ok(there), Ok(back)) = (there, back) else { return unfit(array, to, path, wrong) };
    let Ok(same) = not_distinct(array, &back) else { return unfit(array, to, path, wrong) };
    let shown = ArrayFormatter::try_new(array, &FormatOptions::default());
    for row in (0..array.len()).filter(|row| !same.value(*row)) {
        wrong.entry(row).or_insert_with(|| {
            let value = shown.as_ref().map(|f| f.value(row).to_string()).unwrap_or_default();
            misfit(path, &value.chars().take(SHOWN_MAX).collect::<String>(), to)
        });
    }
    there
}

/// Types that have nothing to do with each other: only nulls fit.
fn unfit(array: &ArrayRef, target: &DataType, path: &str, wrong: &mut Wrong) -> ArrayRef {
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        let found = shown(array.data_type());
        wrong.entry(row).or_insert_with(|| misfit(path, &format!("a value of type {found}"), target));
    }
    new_null_array(target, array.len())
}

fn misfit(path: &str, found: &str, target: &DataType) -> String {
    format!(
        "field `{path}`: the table's column is {} since an earlier schema; {found} does not fit",
        shown(target)
    )
}

#[cfg(test)]
mod tests {
    use super::super::union::Union;
    use super::*;
    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Fields, Float64Type};

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    /// Turns a column to the one that an older schema made.
    fn turn(older: DataType, column: ArrayRef) -> Widened {
        let mut union = Union::default();
        union.add(&Fields::from(vec![field("c", older), field("n", DataType::Utf8)]));
        let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).expect("batch");
        let places = union.add(batch.schema().fields()).places;
        columns(&batch, &union.targets(), &places)
    }

    fn rows(widened: &Widened) -> Vec<usize> {
        widened.misfits.iter().map(|(row, _)| *row).collect()
    }

    #[test]
    fn numbers_turn_when_nothing_is_lost() {
        let values = Float64Array::from(vec![Some(1.0), Some(1.5), None, Some(1e300)]);
        let widened = turn(DataType::Int64, Arc::new(values));
        assert_eq!(widened.columns[0].as_ref(), &Int64Array::from(vec![Some(1), None]));
        assert_eq!(widened.columns[1].null_count(), 2);
        assert_eq!(rows(&widened), [1, 3]);
        let why = &widened.misfits[0].1;
        assert!(why.contains("field `c`") && why.contains("1.5") && why.contains("long"), "{why}");
        let widened =
            turn(DataType::Float64, Arc::new(Int64Array::from(vec![3, i64::MAX, 1 << 53, (1 << 53) + 1])));
        assert_eq!(rows(&widened), [1, 3]);
        let widened = turn(DataType::Int64, Arc::new(Int32Array::from(vec![7, i32::MIN])));
        assert_eq!(widened.columns[0].as_ref(), &Int64Array::from(vec![7, i64::from(i32::MIN)]));
        let decimals = Decimal128Array::from(vec![123]).with_precision_and_scale(9, 2).expect("decimal");
        let widened = turn(DataType::Decimal128(18, 2), Arc::new(decimals));
        assert_eq!(widened.columns[0].data_type(), &DataType::Decimal128(18, 2));
        assert!(widened.misfits.is_empty());
    }

    #[test]
    fn unlike_types_take_nulls_only() {
        let widened = turn(DataType::Int32, Arc::new(StringArray::from(vec![None, Some("x")])));
        assert_eq!(widened.columns[0].as_ref(), &Int32Array::from(vec![None]));
        assert_eq!(rows(&widened), [1]);
        let date = turn(
            DataType::Date32,
            Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![Some(0), None])),
        );
        assert_eq!(rows(&date), [0], "a date is no time");
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
        let widened = turn(DataType::List(Arc::new(field("element", DataType::Int64))), Arc::new(from));
        assert_eq!(rows(&widened), [3]);
        let list = widened.columns[0].as_list::<i32>();
        assert_eq!(list.len(), 4);
        assert_eq!(list.value(3).as_ref(), &Int64Array::from(vec![4]));
        assert!(list.is_null(2));
    }
}

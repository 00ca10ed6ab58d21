//! The order of rows in compacted files.
//!
//! Owns: the words of `frazil.table.sort.order`; sorting what fits into memory.
//! Invariants: sorting moves rows and changes none; the order holds within each file, files may overlap.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};

/// Property with the order: `symbol, redpanda.timestamp desc nulls last`.
pub(crate) const SORT_ORDER: &str = "frazil.table.sort.order";
/// Most columns of an order.
const COLUMNS_MAX: usize = 16;

/// Columns to sort by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order(Vec<(Vec<String>, SortOptions)>);

impl Order {
    /// Reads an order; the error says what is wrong with it.
    pub(crate) fn parse(text: &str, schema: &SchemaRef) -> Result<Option<Self>, String> {
        let mut columns = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let mut words = item.split_whitespace();
            let name = words.next().unwrap_or_default();
            let rest: Vec<String> = words.map(str::to_ascii_lowercase).collect();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            let (descending, nulls) = match rest.as_slice() {
                ["desc", nulls @ ..] => (true, nulls),
                ["asc", nulls @ ..] | nulls => (false, nulls),
            };
            // As Iceberg and Spark: nulls first when ascending.
            let nulls_first = match nulls {
                [] => !descending,
                ["nulls", "first"] => true,
                ["nulls", "last"] => false,
                _ => return Err(format!("`{item}`: write `column [asc|desc] [nulls first|nulls last]`")),
            };
            let path = find(name, schema)?;
            columns.push((path, SortOptions { descending, nulls_first }));
        }
        if columns.len() > COLUMNS_MAX {
            return Err(format!("more than {COLUMNS_MAX} columns"));
        }
        Ok((!columns.is_empty()).then_some(Self(columns)))
    }

    /// The rows of all batches in this order; rows that compare equal may change places.
    pub(crate) fn sort(&self, batches: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch, String> {
        let all = concat_batches(schema, batches).map_err(|e| e.to_string())?;
        let mut columns = Vec::with_capacity(self.0.len());
        for (path, options) in &self.0 {
            let values = column(&all, path).ok_or_else(|| format!("no column {}", path.join(".")))?;
            columns.push(SortColumn { values, options: Some(*options) });
        }
        let indices = lexsort_to_indices(&columns, None).map_err(|e| e.to_string())?;
        take_record_batch(&all, &indices).map_err(|e| e.to_string())
    }
}

/// The path of a plain column; a dot may also belong to its name.
fn find(name: &str, schema: &SchemaRef) -> Result<Vec<String>, String> {
    let mut path = Vec::new();
    let (mut fields, mut rest) = (schema.fields(), name);
    loop {
        let matching = |f: &&arrow::datatypes::FieldRef| {
            rest.strip_prefix(f.name().as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        let field = fields.iter().filter(matching).max_by_key(|f| f.name().len());
        let field = field.ok_or_else(|| format!("the table has no column `{name}`"))?;
        path.push(field.name().clone());
        rest = rest[field.name().len()..].trim_start_matches('.');
        match field.data_type() {
            DataType::Struct(inner) if !rest.is_empty() => fields = inner,
            _ if !rest.is_empty() => return Err(format!("the table has no column `{name}`")),
            DataType::Struct(_) | DataType::List(_) | DataType::Map(_, _) => {
                return Err(format!("`{name}` is {}: rows are sorted by plain columns", field.data_type()));
            }
            _ => return Ok(path),
        }
    }
}

/// A column by its path; null where a struct on the way is null.
fn column(batch: &RecordBatch, path: &[String]) -> Option<ArrayRef> {
    let (first, rest) = path.split_first()?;
    let mut array = batch.column_by_name(first)?.clone();
    for name in rest {
        let parent = array.as_struct_opt()?;
        let child = parent.column_by_name(name)?;
        let nulls = NullBuffer::union(parent.nulls(), child.nulls());
        array = match parent.nulls() {
            None => child.clone(),
            Some(_) => arrow::array::make_array(child.to_data().into_builder().nulls(nulls).build().ok()?),
        };
    }
    Some(array)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields, Int64Type, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        let inner = Fields::from(vec![Field::new("at", DataType::Int64, true)]);
        Arc::new(Schema::new(vec![
            Field::new("s", DataType::Utf8, true),
            Field::new("in", DataType::Struct(inner), true),
            Field::new("a.b", DataType::Int64, true),
        ]))
    }

    #[test]
    fn orders_are_read_or_refused() {
        let read = |text: &str| Order::parse(text, &schema());
        let (asc, desc) = (
            SortOptions { descending: false, nulls_first: true },
            SortOptions { descending: true, nulls_first: false },
        );
        assert_eq!(read(" "), Ok(None));
        assert_eq!(
            read("s, in.at DESC, a.b asc nulls last"),
            Ok(Some(Order(vec![
                (vec!["s".into()], asc),
                (vec!["in".into(), "at".into()], desc),
                (vec!["a.b".into()], SortOptions { nulls_first: false, ..asc }),
            ])))
        );
        for bad in ["x", "in", "in.x", "s.x", "s sideways", "s nulls", "s desc last", "a"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_are_sorted_whole() {
        let batch = |s: &[Option<&str>], at: &[i64]| {
            let Some(DataType::Struct(inner)) = schema().fields().get(1).map(|f| f.data_type().clone())
            else {
                panic!("struct")
            };
            let times: ArrayRef = Arc::new(Int64Array::from(at.to_vec()));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from(s.to_vec())),
                Arc::new(StructArray::new(inner, vec![times.clone()], None)),
                times,
            ];
            RecordBatch::try_new(schema(), columns).expect("batch")
        };
        let order = Order::parse("s, in.at desc", &schema()).expect("order").expect("some");
        let batches = [batch(&[Some("b"), None], &[1, 2]), batch(&[Some("a"), Some("b")], &[3, 4])];
        let sorted = order.sort(&batches, &schema()).expect("sorted");
        let last = sorted.column(2).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(last, [2, 3, 4, 1]);
    }
}

//! The form of results.
//!
//! Owns: names of result columns as PostgreSQL gives them, and plain types for the engine's own ones.
//! Does not own: wire forms.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use tables::columns::EXTENSION_NAME;

use crate::error::SqlError;

/// How a plan's rows become the client's.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub columns: SchemaRef,
    casts: bool,
}

impl Shape {
    /// `names` are those of the select list, `None` where a wildcard stands for several columns.
    pub(super) fn new(plan: &Schema, names: Option<Vec<Option<String>>>) -> Self {
        let names = names.and_then(|n| expanded(n, plan.fields().len()));
        let field = |(index, field): (usize, &Arc<Field>)| {
            let name = names.as_ref().and_then(|n| n[index].as_deref()).unwrap_or(field.name());
            let plain = Field::new(name, plain(field.data_type()), field.is_nullable());
            // Doors show UUIDs by it.
            let extension = field.extension_type_name().map(|e| (EXTENSION_NAME.to_owned(), e.to_owned()));
            plain.with_metadata(extension.into_iter().collect())
        };
        let fields: Fields = plan.fields().iter().enumerate().map(field).collect();
        let casts = fields.iter().zip(plan.fields()).any(|(a, b)| a.data_type() != b.data_type());
        Self { columns: Arc::new(Schema::new(fields)), casts }
    }

    pub(super) fn apply(&self, batch: RecordBatch) -> Result<RecordBatch, SqlError> {
        let rows = batch.num_rows();
        let mut arrays = batch.columns().to_vec();
        if self.casts {
            for (array, field) in arrays.iter_mut().zip(self.columns.fields()) {
                if array.data_type() != field.data_type() {
                    *array = cast(array, field.data_type())?;
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.columns), arrays, &options)?)
    }
}

/// One name per column; none when several wildcards hide which is which.
fn expanded(names: Vec<Option<String>>, columns: usize) -> Option<Vec<Option<String>>> {
    let wildcards = names.iter().filter(|n| n.is_none()).count();
    match wildcards {
        0 => (names.len() == columns).then_some(names),
        1 => {
            let hidden = (columns + 1).checked_sub(names.len())?;
            let mut all = Vec::with_capacity(columns);
            for name in names {
                match name {
                    Some(name) => all.push(Some(name)),
                    None => all.extend(std::iter::repeat_n(None, hidden)),
                }
            }
            Some(all)
        }
        _ => None,
    }
}

/// The type without the engine's choice of memory layout.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wildcard_takes_what_the_names_leave() {
        let n = |s: &str| Some(s.to_string());
        assert_eq!(expanded(vec![n("a"), None, n("b")], 4), Some(vec![n("a"), None, None, n("b")]));
        assert_eq!(expanded(vec![None], 0), Some(vec![]));
        assert_eq!(expanded(vec![None, None], 4), None);
        assert_eq!(expanded(vec![n("a")], 2), None);
    }
}

//! Columns: Arrow on one side, Iceberg on the other.
//!
//! Owns: the mapping of types and field ids, and which changes of columns a table can take ([`evolve`]).
//! Does not own: values (`writer`), partition fields (`partitioning`).
//! Invariants: a field id names one column for ever; timestamps with a zone are microseconds in `+00:00`.

pub(crate) mod evolve;
pub(crate) mod uuids;

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema as ArrowSchema, SchemaRef, TimeUnit};
use iceberg::arrow::{
    arrow_schema_to_schema, arrow_schema_to_schema_auto_assign_ids, schema_to_arrow_schema,
};
use iceberg::spec::Schema;

use crate::catalog::CatalogError;

/// Key of a column's metadata in rows: a JSON array of the names that the column had before. A table that knows it by
/// one of them renames it.
pub const FORMER_NAMES: &str = "frazil.former-names";
/// Key of the name of Arrow's extension types; `arrow.uuid` on sixteen bytes is Iceberg's uuid.
pub const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Structs, lists and maps may lie in each other this deep.
const DEPTH_MAX: usize = 32;

/// The Iceberg columns of an Arrow schema; ids are given in order, nested ones after their parents' level.
pub fn iceberg_schema(columns: &ArrowSchema) -> Result<Schema, CatalogError> {
    for field in columns.fields() {
        check(field, field.name(), 0)?;
    }
    let schema = arrow_schema_to_schema_auto_assign_ids(columns).map_err(|e| {
        CatalogError::Invalid(format!("the columns do not fit an Iceberg table: {}", e.message()))
    })?;
    uuids::typed(schema, columns)
}

/// The Iceberg columns that Arrow columns with field ids are.
pub(crate) fn schema_by_ids(columns: &ArrowSchema) -> Result<Schema, CatalogError> {
    let schema = arrow_schema_to_schema(columns)
        .map_err(|e| CatalogError::Format(format!("columns without an Iceberg type: {}", e.message())))?;
    uuids::typed(schema, columns)
}

/// The Arrow columns of a table, with `PARQUET:field_id` metadata; UUIDs bear their extension name `arrow.uuid`.
pub fn arrow_schema(schema: &Schema) -> Result<SchemaRef, CatalogError> {
    schema_to_arrow_schema(schema)
        .map(|columns| Arc::new(uuids::marked(columns, schema)))
        .map_err(|e| CatalogError::Format(format!("columns without an Arrow type: {}", e.message())))
}

fn check(field: &FieldRef, path: &str, depth: usize) -> Result<(), CatalogError> {
    let refuse = |why: String| Err(CatalogError::Invalid(format!("column {path}: {why}")));
    if field.name().is_empty() || field.name().chars().any(char::is_control) {
        return refuse("a column needs a name without control characters".into());
    }
    if depth > DEPTH_MAX {
        return refuse(format!("nested deeper than {DEPTH_MAX} levels"));
    }
    match field.data_type() {
        DataType::Struct(fields) => {
            if fields.is_empty() {
                return refuse("a struct needs at least one field".into());
            }
            fields.iter().try_for_each(|f| check(f, &format!("{path}.{}", f.name()), depth + 1))
        }
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            check(f, path, depth + 1)
        }
        // Iceberg has nanoseconds from format 3 on; our tables are format 2.
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(()),
        DataType::Timestamp(unit, _) => {
            refuse(format!("timestamps are microseconds in an Iceberg table of format 2, not {unit:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "columns/tests.rs"]
pub(crate) mod tests;

//! Columns of data files by their field ids.
//!
//! Owns: what the columns of an older file are called now; a column of the same name that is another one.
//! Does not own: types (the engine casts what has widened).
//! Invariants: a value never changes; a file without field ids is read by its columns' names (Iceberg spec, "Column
//! Projection": without a name mapping, names are the best there is).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};

const FIELD_ID: &str = "PARQUET:field_id";

/// Reads files by the field ids of a table.
#[derive(Debug)]
pub(crate) struct ByFieldId {
    /// With field ids.
    pub(crate) table: SchemaRef,
}

impl PhysicalExprAdapterFactory for ByFieldId {
    fn create(&self, logical: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let named = Arc::new(Schema::new(called_now(file.fields(), self.table.fields())));
        let same = named.fields() == file.fields();
        let inner = DefaultPhysicalExprAdapterFactory.create(logical, Arc::clone(&named))?;
        Ok(if same { inner } else { Arc::new(Adapter { inner, file, named }) })
    }
}

/// For one file whose columns are not called as the table's.
#[derive(Debug)]
struct Adapter {
    /// To the file's columns under their present names.
    inner: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
    named: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewritten = self.inner.rewrite(expr)?.transform_up(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
            let index = column.index();
            let (file, named) = (self.file.field(index), self.named.field(index));
            let own: Arc<dyn PhysicalExpr> = Arc::new(Column::new(file.name(), index));
            if file.data_type() == named.data_type() {
                return Ok(Transformed::yes(own));
            }
            let renamed = Renamed { column: own, to: named.data_type().clone() };
            Ok(Transformed::yes(Arc::new(renamed) as Arc<dyn PhysicalExpr>))
        })?;
        Ok(rewritten.data)
    }
}

/// The fields of a file under the names that the table has for them. What the table does not have gets a name that
/// nothing else can have.
fn called_now(file: &Fields, table: &Fields) -> Fields {
    let named = |field: &FieldRef| {
        let known = match id_of(field) {
            Some(id) => match table.iter().find(|column| id_of(column) == Some(id)) {
                Some(column) => column,
                None => return Arc::new(field.as_ref().clone().with_name(format!("\u{0}{id}"))),
            },
            None => match table.find(field.name()) {
                Some((_, column)) => column,
                None => return Arc::clone(field),
            },
        };
        let data_type = type_now(field.data_type(), known.data_type());
        Arc::new(field.as_ref().clone().with_name(known.name()).with_data_type(data_type))
    };
    file.iter().map(named).collect()
}

fn type_now(file: &DataType, table: &DataType) -> DataType {
    let part = |file: &FieldRef, table: &FieldRef| {
        let data_type = type_now(file.data_type(), table.data_type());
        Arc::new(file.as_ref().clone().with_data_type(data_type))
    };
    match (file, table) {
        (DataType::Struct(file), DataType::Struct(table)) => DataType::Struct(called_now(file, table)),
        (DataType::List(file), DataType::List(table)) => DataType::List(part(file, table)),
        (DataType::Map(file, sorted), DataType::Map(table, _)) => match (file.data_type(), table.data_type())
        {
            (DataType::Struct(pair), DataType::Struct(known)) if pair.len() == 2 && known.len() == 2 => {
                let pair: Fields = pair.iter().zip(known).map(|(file, table)| part(file, table)).collect();
                let entries = file.as_ref().clone().with_data_type(DataType::Struct(pair));
                DataType::Map(Arc::new(entries), *sorted)
            }
            _ => DataType::Map(Arc::clone(file), *sorted),
        },
        _ => file.clone(),
    }
}

fn id_of(field: &Field) -> Option<i32> {
    field.metadata().get(FIELD_ID).and_then(|id| id.parse().ok())
}

/// A column whose parts have other names.
#[derive(Debug, Eq)]
struct Renamed {
    column: Arc<dyn PhysicalExpr>,
    to: DataType,
}

impl PartialEq for Renamed {
    fn eq(&self, other: &Self) -> bool {
        self.column.eq(&other.column) && self.to == other.to
    }
}

impl Hash for Renamed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for Renamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.column)
    }
}

impl PhysicalExpr for Renamed {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.column.nullable(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.column.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(renamed(&array, &self.to)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.column]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let column = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.column));
        Ok(Arc::new(Self { column, to: self.to.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.column.fmt_sql(f)
    }
}

/// The same values under other names.
fn renamed(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    Ok(match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let from = array.as_struct();
            let columns =
                from.columns().iter().zip(fields).map(|(column, field)| renamed(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                from.nulls().cloned(),
                from.len(),
            )?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let from: &ListArray = array.as_list();
            let values = renamed(from.values(), element.data_type())?;
            let nulls = from.nulls().cloned();
            Arc::new(ListArray::try_new(Arc::clone(element), from.offsets().clone(), values, nulls)?)
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let from: &MapArray = array.as_map();
            let pairs: ArrayRef = Arc::new(from.entries().clone());
            let pairs = renamed(&pairs, entries.data_type())?.as_struct().clone();
            let nulls = from.nulls().cloned();
            Arc::new(MapArray::try_new(Arc::clone(entries), from.offsets().clone(), pairs, nulls, *sorted)?)
        }
        _ => Arc::clone(array),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    fn field(id: i32, name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true).with_metadata([(FIELD_ID.to_owned(), id.to_string())].into())
    }

    #[test]
    fn columns_are_called_as_the_table_calls_them_now() {
        let file = Fields::from(vec![
            field(1, "a", DataType::Int64),
            field(2, "gone", DataType::Int64),
            field(3, "o", DataType::Struct(vec![field(4, "x", DataType::Int64)].into())),
        ]);
        let table = Fields::from(vec![
            field(3, "o", DataType::Struct(vec![field(4, "y", DataType::Int64)].into())),
            field(5, "a", DataType::Utf8),
            field(1, "b", DataType::Int64),
        ]);
        let now = called_now(&file, &table);
        let names: Vec<&str> = now.iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["b", "\u{0}2", "o"]);
        let DataType::Struct(inner) = now[2].data_type() else { panic!("a struct") };
        assert_eq!(inner[0].name(), "y");
        let DataType::Struct(old) = file[2].data_type() else { panic!("a struct") };
        let column: ArrayRef =
            Arc::new(StructArray::new(old.clone(), vec![Arc::new(Int64Array::from(vec![7]))], None));
        let turned = renamed(&column, now[2].data_type()).expect("the same values");
        assert_eq!(turned.as_struct().column_by_name("y").expect("y").len(), 1);
        // Written by somebody who gives no ids: by name.
        let plain = Fields::from(vec![Field::new("b", DataType::Int64, true)]);
        assert_eq!(called_now(&plain, &table), plain);
    }
}

//! UUIDs: sixteen bytes in Arrow, marked by its canonical extension name; a type of their own in Iceberg and Parquet.
//!
//! Owns: carrying the mark between the three, which the libraries do not.
//! Does not own: values.
//! Invariants: nothing but the mark changes; a file's own copy of its Arrow schema has no mark, as files of other
//! writers have none.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema};
use iceberg::spec::{ListType, MapType, NestedFieldRef, PrimitiveType, Schema, StructType, Type};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type as ParquetType, TypePtr};

use super::EXTENSION_NAME;
use crate::catalog::CatalogError;

/// The canonical name of UUIDs.
const UUID: &str = "arrow.uuid";
const WIDTH: i32 = 16;

/// Whether a column holds UUIDs.
pub(crate) fn is_uuid(field: &Field) -> bool {
    *field.data_type() == DataType::FixedSizeBinary(WIDTH)
        && field.metadata().get(EXTENSION_NAME).is_some_and(|name| name == UUID)
}

fn any_uuid(fields: &Fields) -> bool {
    fields
        .iter()
        .any(|field| is_uuid(field) || inner(field.data_type()).is_some_and(|inner| any_uuid(&inner)))
}

/// The fields within a type.
fn inner(data_type: &DataType) -> Option<Fields> {
    match data_type {
        DataType::Struct(fields) => Some(fields.clone()),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => Some(Fields::from(vec![Arc::clone(field)])),
        _ => None,
    }
}

/// An Iceberg schema, made of these columns, with its UUIDs.
pub(super) fn typed(schema: Schema, columns: &ArrowSchema) -> Result<Schema, CatalogError> {
    if !any_uuid(columns.fields()) {
        return Ok(schema);
    }
    let fields = schema.as_struct().fields().iter().zip(columns.fields());
    let fields = fields.map(|(field, column)| typed_field(field, column));
    Schema::builder()
        .with_schema_id(schema.schema_id())
        .with_identifier_field_ids(schema.identifier_field_ids())
        .with_fields(fields)
        .build()
        .map_err(|e| CatalogError::Invalid(format!("the columns do not fit together: {}", e.message())))
}

fn typed_field(field: &NestedFieldRef, column: &FieldRef) -> NestedFieldRef {
    let mut typed = field.as_ref().clone();
    typed.field_type = Box::new(match (field.field_type.as_ref(), column.data_type()) {
        (Type::Primitive(PrimitiveType::Fixed(16)), _) if is_uuid(column) => {
            Type::Primitive(PrimitiveType::Uuid)
        }
        (Type::Struct(members), DataType::Struct(columns)) => {
            let members = members.fields().iter().zip(columns);
            Type::Struct(StructType::new(members.map(|(f, c)| typed_field(f, c)).collect()))
        }
        (
            Type::List(list),
            DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _),
        ) => Type::List(ListType::new(typed_field(&list.element_field, element))),
        (Type::Map(map), DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let key = typed_field(&map.key_field, &pair[0]);
                Type::Map(MapType::new(key, typed_field(&map.value_field, &pair[1])))
            }
            _ => return Arc::clone(field),
        },
        _ => return Arc::clone(field),
    });
    Arc::new(typed)
}

/// Arrow columns, made of an Iceberg schema, with the mark.
pub(super) fn marked(columns: ArrowSchema, schema: &Schema) -> ArrowSchema {
    let fields = columns.fields().iter().zip(schema.as_struct().fields());
    let fields: Fields = fields.map(|(column, field)| marked_field(column, &field.field_type)).collect();
    ArrowSchema::new_with_metadata(fields, columns.metadata)
}

fn marked_field(column: &FieldRef, field_type: &Type) -> FieldRef {
    let data_type = match (column.data_type(), field_type) {
        (DataType::FixedSizeBinary(WIDTH), Type::Primitive(PrimitiveType::Uuid)) => {
            let mut metadata = column.metadata().clone();
            metadata.insert(EXTENSION_NAME.to_owned(), UUID.to_owned());
            return Arc::new(column.as_ref().clone().with_metadata(metadata));
        }
        (DataType::Struct(columns), Type::Struct(members)) => {
            let members = columns.iter().zip(members.fields());
            DataType::Struct(members.map(|(c, f)| marked_field(c, &f.field_type)).collect())
        }
        (DataType::List(element), Type::List(list)) => {
            DataType::List(marked_field(element, &list.element_field.field_type))
        }
        (DataType::Map(entries, sorted), Type::Map(map)) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let key = marked_field(&pair[0], &map.key_field.field_type);
                let value = marked_field(&pair[1], &map.value_field.field_type);
                let entries = entries.as_ref().clone();
                let entries = entries.with_data_type(DataType::Struct(Fields::from(vec![key, value])));
                DataType::Map(Arc::new(entries), *sorted)
            }
            _ => return Arc::clone(column),
        },
        _ => return Arc::clone(column),
    };
    Arc::new(column.as_ref().clone().with_data_type(data_type))
}

/// What a Parquet file of these columns is made with: its Arrow schema without the mark, and its own schema with
/// Parquet's type; none when there is no UUID.
pub(crate) fn parquet(
    columns: &ArrowSchema,
) -> Result<Option<(ArrowSchema, SchemaDescriptor)>, ParquetError> {
    if !any_uuid(columns.fields()) {
        return Ok(None);
    }
    let plain = ArrowSchema::new_with_metadata(without_mark(columns.fields()), columns.metadata.clone());
    let converted = ArrowSchemaConverter::new().convert(&plain)?;
    let members = converted.root_schema().get_fields().iter().zip(columns.fields());
    let members = members.map(|(member, column)| parquet_field(member, column)).collect::<Result<_, _>>()?;
    let root =
        ParquetType::group_type_builder(converted.root_schema().name()).with_fields(members).build()?;
    Ok(Some((plain, SchemaDescriptor::new(Arc::new(root)))))
}

fn without_mark(fields: &Fields) -> Fields {
    let plain = |field: &FieldRef| {
        let mut metadata = field.metadata().clone();
        if is_uuid(field) {
            metadata.remove(EXTENSION_NAME);
        }
        let one = |field: &FieldRef| {
            without_mark(&Fields::from(vec![Arc::clone(field)]))
                .iter()
                .next()
                .cloned()
                .unwrap_or_else(|| Arc::clone(field))
        };
        let data_type = match field.data_type() {
            DataType::Struct(fields) => DataType::Struct(without_mark(fields)),
            DataType::List(element) => DataType::List(one(element)),
            DataType::Map(entries, sorted) => DataType::Map(one(entries), *sorted),
            other => other.clone(),
        };
        Arc::new(field.as_ref().clone().with_metadata(metadata).with_data_type(data_type))
    };
    fields.iter().map(plain).collect()
}

fn parquet_field(made: &TypePtr, column: &Field) -> Result<TypePtr, ParquetError> {
    let info = made.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if is_uuid(column) {
        let uuid = ParquetType::primitive_type_builder(made.name(), made.get_physical_type())
            .with_repetition(info.repetition())
            .with_length(WIDTH)
            .with_logical_type(Some(LogicalType::Uuid))
            .with_id(id);
        return Ok(Arc::new(uuid.build()?));
    }
    if made.is_primitive() {
        return Ok(Arc::clone(made));
    }
    // A list is a group of one repeated group of its element, a map one of key and value: the fields of the Arrow type
    // are those of the innermost group.
    let rebuilt = |group: &TypePtr, members: Vec<TypePtr>| {
        let info = group.get_basic_info();
        let builder = ParquetType::group_type_builder(group.name())
            .with_repetition(info.repetition())
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_id(info.has_id().then(|| info.id()))
            .with_fields(members);
        builder.build().map(Arc::new)
    };
    let columns = match column.data_type() {
        DataType::Struct(columns) => {
            let members = made.get_fields().iter().zip(columns);
            let members = members.map(|(m, c)| parquet_field(m, c)).collect::<Result<_, _>>()?;
            return rebuilt(made, members);
        }
        DataType::List(element) => Fields::from(vec![Arc::clone(element)]),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => pair.clone(),
            _ => return Ok(Arc::clone(made)),
        },
        _ => return Ok(Arc::clone(made)),
    };
    let [repeated] = made.get_fields() else { return Ok(Arc::clone(made)) };
    let members = repeated.get_fields().iter().zip(&columns);
    let members = members.map(|(m, c)| parquet_field(m, c)).collect::<Result<_, _>>()?;
    rebuilt(made, vec![rebuilt(repeated, members)?])
}

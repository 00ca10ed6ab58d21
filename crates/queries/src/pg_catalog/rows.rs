//! Rows of the catalog relations.
//!
//! Owns: what each relation shows of a [`CatalogSnapshot`].
//! Does not own: their columns (`relations`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;

use super::oids::{self, PgType};
use super::relations::CatalogRelation;
use super::snapshot::{CatalogSnapshot, DATABASE_OID, OWNER_OID, PG_CATALOG_OID, Relation};

/// `pg_am.oid` of `heap`, which clients expect tables to have.
const HEAP_OID: u32 = 2;
/// `pg_collation.oid` of `default`.
const DEFAULT_COLLATION_OID: u32 = 100;

type Cells = Vec<(&'static str, ScalarValue)>;

fn oid(value: u32) -> ScalarValue {
    ScalarValue::Int64(Some(i64::from(value)))
}
fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}
fn int4(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}
fn int2(value: i16) -> ScalarValue {
    ScalarValue::Int16(Some(value))
}
fn yes() -> ScalarValue {
    ScalarValue::Boolean(Some(true))
}

/// All rows of a relation; `settings` is what `pg_settings` shows.
pub(crate) fn batch(
    schema: &str,
    name: &str,
    relation: &CatalogRelation,
    catalog: &CatalogSnapshot,
    settings: &BTreeMap<String, String>,
) -> Result<RecordBatch, DataFusionError> {
    let rows: Vec<Cells> = if relation.always_empty {
        Vec::new()
    } else if schema == "information_schema" {
        information_rows(name, catalog)
    } else {
        match name {
            "pg_namespace" => namespaces(catalog),
            "pg_class" => catalog.relations.iter().map(|r| class(catalog, r)).collect(),
            "pg_attribute" => catalog.relations.iter().flat_map(attributes).collect(),
            "pg_type" => types(),
            "pg_database" => vec![database(catalog)],
            "pg_roles" | "pg_authid" => vec![role(catalog)],
            "pg_user" => vec![user(catalog)],
            "pg_am" => vec![vec![("oid", oid(HEAP_OID)), ("amname", text("heap")), ("amtype", text("t"))]],
            "pg_tablespace" => [(1663, "pg_default"), (1664, "pg_global")]
                .map(|(o, n)| vec![("oid", oid(o)), ("spcname", text(n)), ("spcowner", oid(OWNER_OID))])
                .to_vec(),
            "pg_settings" => settings.iter().map(|(n, v)| setting(n, v)).collect(),
            "pg_tables" => catalog.relations.iter().map(|r| table(catalog, r)).collect(),
            _ => Vec::new(),
        }
    };
    assemble(relation, rows)
}

/// Rows with named cells to columns; cells that are not named have the relation's defaults.
fn assemble(relation: &CatalogRelation, rows: Vec<Cells>) -> Result<RecordBatch, DataFusionError> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(&relation.columns)));
    }
    let mut columns = Vec::with_capacity(relation.columns.fields().len());
    for (index, field) in relation.columns.fields().iter().enumerate() {
        let default = default_cell(field.data_type(), relation.null_default[index])?;
        let cells = rows.iter().map(|row| {
            row.iter().find(|(n, _)| n == field.name()).map_or_else(|| default.clone(), |(_, v)| v.clone())
        });
        columns.push(ScalarValue::iter_to_array(cells)?);
    }
    Ok(RecordBatch::try_new(Arc::clone(&relation.columns), columns)?)
}

fn default_cell(data_type: &DataType, null: bool) -> Result<ScalarValue, DataFusionError> {
    Ok(match data_type {
        _ if null => ScalarValue::try_from(data_type)?,
        DataType::Boolean => ScalarValue::Boolean(Some(false)),
        DataType::Int16 => int2(0),
        DataType::Int32 => int4(0),
        DataType::Int64 => oid(0),
        DataType::Float32 => ScalarValue::Float32(Some(0.0)),
        DataType::Utf8 => text(""),
        other => ScalarValue::try_from(other)?,
    })
}

fn namespaces(catalog: &CatalogSnapshot) -> Vec<Cells> {
    let row = |(name, id): (&String, &u32)| {
        vec![("oid", oid(*id)), ("nspname", text(name.as_str())), ("nspowner", oid(OWNER_OID))]
    };
    catalog.schemas.iter().map(row).collect()
}

fn schema_oid(catalog: &CatalogSnapshot, relation: &Relation) -> ScalarValue {
    oid(catalog.schemas.get(&*relation.schema).copied().unwrap_or(0))
}

fn class(catalog: &CatalogSnapshot, r: &Relation) -> Cells {
    // -1 says that the table has never been counted.
    let tuples = r.rows.map_or(-1.0, |n| n as f32);
    vec![
        ("oid", oid(r.oid)),
        ("relname", text(&*r.name)),
        ("relnamespace", schema_oid(catalog, r)),
        ("relowner", oid(OWNER_OID)),
        ("relam", oid(HEAP_OID)),
        ("relfilenode", oid(r.oid)),
        ("relpages", int4(i32::try_from(r.bytes / 8192).unwrap_or(i32::MAX))),
        ("reltuples", ScalarValue::Float32(Some(tuples))),
        ("relpersistence", text("p")),
        ("relkind", text("r")),
        ("relnatts", int2(r.columns.fields().len() as i16)),
        ("relispopulated", yes()),
        ("relreplident", text("d")),
    ]
}

fn attributes(r: &Relation) -> Vec<Cells> {
    let column = |(index, field): (usize, &arrow::datatypes::FieldRef)| {
        let t = oids::of_field(field);
        let length = if t.array { -1 } else { t.base.length };
        let collation = if t.base.category == 'S' { DEFAULT_COLLATION_OID } else { 0 };
        vec![
            ("attrelid", oid(r.oid)),
            ("attname", text(field.name().as_str())),
            ("atttypid", oid(t.oid)),
            ("attstattarget", int4(-1)),
            ("attlen", int2(length)),
            ("attnum", int2(index as i16 + 1)),
            ("attndims", int4(i32::from(t.array))),
            ("attcacheoff", int4(-1)),
            ("atttypmod", int4(t.modifier)),
            ("attbyval", ScalarValue::Boolean(Some((1..=8).contains(&length)))),
            ("attalign", text("i")),
            ("attstorage", text(if length < 0 { "x" } else { "p" })),
            ("attnotnull", ScalarValue::Boolean(Some(!field.is_nullable()))),
            ("attislocal", yes()),
            ("attcollation", oid(collation)),
        ]
    };
    r.columns.fields().iter().enumerate().map(column).collect()
}

fn types() -> Vec<Cells> {
    let mut rows = Vec::new();
    for t in oids::TYPES {
        rows.push(type_row(t, t.oid, t.name.to_string(), t.length, t.category, 0, t.array));
        if t.array != 0 {
            rows.push(type_row(t, t.array, format!("_{}", t.name), -1, 'A', t.oid, 0));
        }
    }
    rows
}

fn type_row(
    t: &PgType,
    id: u32,
    name: String,
    length: i16,
    category: char,
    element: u32,
    array: u32,
) -> Cells {
    let collation = if t.category == 'S' { DEFAULT_COLLATION_OID } else { 0 };
    vec![
        ("oid", oid(id)),
        ("typname", text(name)),
        ("typnamespace", oid(PG_CATALOG_OID)),
        ("typowner", oid(OWNER_OID)),
        ("typlen", int2(length)),
        ("typbyval", ScalarValue::Boolean(Some((1..=8).contains(&length)))),
        ("typtype", text(if t.category == 'P' || t.category == 'X' { "p" } else { "b" })),
        ("typcategory", text(category)),
        ("typisdefined", yes()),
        ("typdelim", text(",")),
        ("typelem", oid(element)),
        ("typarray", oid(array)),
        ("typalign", text("i")),
        ("typstorage", text(if length < 0 { "x" } else { "p" })),
        ("typtypmod", int4(-1)),
        ("typcollation", oid(collation)),
    ]
}

fn database(catalog: &CatalogSnapshot) -> Cells {
    vec![
        ("oid", oid(DATABASE_OID)),
        ("datname", text(catalog.database.as_str())),
        ("datdba", oid(OWNER_OID)),
        ("encoding", int4(6)),
        ("datlocprovider", text("c")),
        ("datallowconn", yes()),
        ("datconnlimit", int4(-1)),
        ("dattablespace", oid(1663)),
        ("datcollate", text("C.UTF-8")),
        ("datctype", text("C.UTF-8")),
    ]
}

fn role(catalog: &CatalogSnapshot) -> Cells {
    vec![
        ("rolname", text(catalog.user.as_str())),
        ("rolinherit", yes()),
        ("rolcanlogin", yes()),
        ("rolconnlimit", int4(-1)),
        ("oid", oid(OWNER_OID)),
    ]
}

fn user(catalog: &CatalogSnapshot) -> Cells {
    vec![("usename", text(catalog.user.as_str())), ("usesysid", oid(OWNER_OID)), ("passwd", text("********"))]
}

fn setting(name: &str, value: &str) -> Cells {
    vec![
        ("name", text(name)),
        ("setting", text(value)),
        ("category", text("Client Connection Defaults")),
        ("context", text("user")),
        ("vartype", text("string")),
        ("source", text("session")),
    ]
}

fn table(catalog: &CatalogSnapshot, r: &Relation) -> Cells {
    vec![
        ("schemaname", text(&*r.schema)),
        ("tablename", text(&*r.name)),
        ("tableowner", text(catalog.user.as_str())),
    ]
}

fn information_rows(name: &str, catalog: &CatalogSnapshot) -> Vec<Cells> {
    let database = || text(catalog.database.as_str());
    match name {
        "schemata" => catalog
            .schemas
            .keys()
            .map(|schema| {
                vec![
                    ("catalog_name", database()),
                    ("schema_name", text(schema.as_str())),
                    ("schema_owner", text(catalog.user.as_str())),
                ]
            })
            .collect(),
        "tables" => catalog
            .relations
            .iter()
            .map(|r| {
                vec![
                    ("table_catalog", database()),
                    ("table_schema", text(&*r.schema)),
                    ("table_name", text(&*r.name)),
                    ("table_type", text("BASE TABLE")),
                    ("is_insertable_into", text("NO")),
                    ("is_typed", text("NO")),
                ]
            })
            .collect(),
        "columns" => catalog.relations.iter().flat_map(|r| information_columns(catalog, r)).collect(),
        _ => Vec::new(),
    }
}

fn information_columns(catalog: &CatalogSnapshot, r: &Relation) -> Vec<Cells> {
    let column = |(index, field): (usize, &arrow::datatypes::FieldRef)| {
        let t = oids::of_field(field);
        let mut cells = vec![
            ("table_catalog", text(catalog.database.as_str())),
            ("table_schema", text(&*r.schema)),
            ("table_name", text(&*r.name)),
            ("column_name", text(field.name().as_str())),
            ("ordinal_position", int4(index as i32 + 1)),
            ("is_nullable", text(if field.is_nullable() { "YES" } else { "NO" })),
            ("data_type", text(if t.array { "ARRAY" } else { t.base.sql_name })),
            ("udt_catalog", text(catalog.database.as_str())),
            ("udt_schema", text("pg_catalog")),
            ("udt_name", text(if t.array { format!("_{}", t.base.name) } else { t.base.name.into() })),
            ("is_identity", text("NO")),
            ("is_generated", text("NEVER")),
            ("is_updatable", text("NO")),
        ];
        let bits = match t.base.name {
            "int2" => Some((16, 2, 0)),
            "int4" => Some((32, 2, 0)),
            "int8" => Some((64, 2, 0)),
            "numeric" if t.modifier >= 4 => Some(((t.modifier - 4) >> 16, 10, (t.modifier - 4) & 0x7ff)),
            _ => None,
        };
        if let Some((precision, radix, scale)) = bits.filter(|_| !t.array) {
            cells.push(("numeric_precision", int4(precision)));
            cells.push(("numeric_precision_radix", int4(radix)));
            cells.push(("numeric_scale", int4(scale)));
        }
        cells
    };
    r.columns.fields().iter().enumerate().map(column).collect()
}

//! PostgreSQL's built-in types and their object ids, as far as Arrow columns become them.
//!
//! Owns: the mapping Arrow type → PostgreSQL type, for catalogs and for the wire.
//! Does not own: text and binary forms of values.

use arrow::datatypes::{DataType, Field};

/// A built-in type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    pub oid: u32,
    /// `pg_type.typname`.
    pub name: &'static str,
    /// As `format_type` and error messages call it.
    pub sql_name: &'static str,
    /// Bytes; -1 when it varies, -2 for a C string.
    pub length: i16,
    /// Object id of the array of it; 0 when there is none.
    pub array: u32,
    /// `pg_type.typcategory`.
    pub category: char,
}

const fn t(
    oid: u32,
    name: &'static str,
    sql_name: &'static str,
    length: i16,
    array: u32,
    category: char,
) -> PgType {
    PgType { oid, name, sql_name, length, array, category }
}

/// Types that columns have, and those that drivers look up.
pub const TYPES: &[PgType] = &[
    t(16, "bool", "boolean", 1, 1000, 'B'),
    t(17, "bytea", "bytea", -1, 1001, 'U'),
    t(18, "char", "\"char\"", 1, 1002, 'Z'),
    t(19, "name", "name", 64, 1003, 'S'),
    t(20, "int8", "bigint", 8, 1016, 'N'),
    t(21, "int2", "smallint", 2, 1005, 'N'),
    t(23, "int4", "integer", 4, 1007, 'N'),
    t(24, "regproc", "regproc", 4, 1008, 'N'),
    t(25, "text", "text", -1, 1009, 'S'),
    t(26, "oid", "oid", 4, 1028, 'N'),
    t(114, "json", "json", -1, 199, 'U'),
    t(700, "float4", "real", 4, 1021, 'N'),
    t(701, "float8", "double precision", 8, 1022, 'N'),
    t(705, "unknown", "unknown", -2, 0, 'X'),
    t(1042, "bpchar", "character", -1, 1014, 'S'),
    t(1043, "varchar", "character varying", -1, 1015, 'S'),
    t(1082, "date", "date", 4, 1182, 'D'),
    t(1083, "time", "time without time zone", 8, 1183, 'D'),
    t(1114, "timestamp", "timestamp without time zone", 8, 1115, 'D'),
    t(1184, "timestamptz", "timestamp with time zone", 8, 1185, 'D'),
    t(1186, "interval", "interval", 16, 1187, 'T'),
    t(1266, "timetz", "time with time zone", 12, 1270, 'D'),
    t(1700, "numeric", "numeric", -1, 1231, 'N'),
    t(2205, "regclass", "regclass", 4, 2210, 'N'),
    t(2206, "regtype", "regtype", 4, 2211, 'N'),
    t(2249, "record", "record", -1, 2287, 'P'),
    t(2278, "void", "void", 4, 0, 'P'),
    t(2950, "uuid", "uuid", 16, 2951, 'U'),
    t(3802, "jsonb", "jsonb", -1, 3807, 'U'),
    t(4089, "regnamespace", "regnamespace", 4, 4090, 'N'),
];

/// Type and modifier (`atttypmod`; -1 when none) of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnType {
    /// Of the array when `array` is set.
    pub oid: u32,
    pub modifier: i32,
    /// The element's type for an array, else the type itself.
    pub base: PgType,
    pub array: bool,
}

/// The built-in type with an object id.
pub fn by_oid(oid: u32) -> Option<PgType> {
    TYPES.iter().copied().find(|t| t.oid == oid)
}

/// The built-in type with a name, either form, without case.
pub fn by_name(name: &str) -> Option<PgType> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_lowercase();
    TYPES.iter().copied().find(|t| t.name == name || t.sql_name == name)
}

/// What a column is in PostgreSQL.
pub fn of_field(field: &Field) -> ColumnType {
    let uuid = |field: &Field| field.extension_type_name() == Some("arrow.uuid");
    match (field.data_type(), by_name("uuid")) {
        (DataType::FixedSizeBinary(16), Some(base)) if uuid(field) => {
            ColumnType { oid: base.oid, modifier: -1, base, array: false }
        }
        (DataType::List(element), Some(base)) if uuid(element) => {
            ColumnType { oid: base.array, modifier: -1, base, array: true }
        }
        (data_type, _) => of_arrow(data_type),
    }
}

/// What a column of an Arrow type is in PostgreSQL. Structs and maps are `json`.
pub fn of_arrow(data_type: &DataType) -> ColumnType {
    let (name, modifier) = match data_type {
        DataType::Boolean => ("bool", -1),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ("int2", -1),
        DataType::Int32 | DataType::UInt16 => ("int4", -1),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => ("int8", -1),
        DataType::Float16 | DataType::Float32 => ("float4", -1),
        DataType::Float64 => ("float8", -1),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => ("numeric", (i32::from(*p) << 16 | (i32::from(*s) & 0x7ff)) + 4),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => ("text", -1),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ("bytea", -1)
        }
        DataType::Date32 | DataType::Date64 => ("date", -1),
        DataType::Time32(_) | DataType::Time64(_) => ("time", -1),
        DataType::Timestamp(_, None) => ("timestamp", -1),
        DataType::Timestamp(_, Some(_)) => ("timestamptz", -1),
        DataType::Interval(_) | DataType::Duration(_) => ("interval", -1),
        DataType::List(f)
        | DataType::LargeList(f)
        | DataType::FixedSizeList(f, _)
        | DataType::ListView(f)
        | DataType::LargeListView(f) => return array_of(f.data_type()),
        DataType::Dictionary(_, value) => return of_arrow(value),
        DataType::RunEndEncoded(_, value) => return of_arrow(value.data_type()),
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => ("json", -1),
    };
    let base = by_name(name).unwrap_or(TEXT);
    ColumnType { oid: base.oid, modifier, base, array: false }
}

const TEXT: PgType = t(25, "text", "text", -1, 1009, 'S');

/// Arrays of arrays have the element type of the innermost one, as in PostgreSQL.
fn array_of(element: &DataType) -> ColumnType {
    let inner = of_arrow(element);
    ColumnType { oid: inner.base.array, array: true, ..inner }
}

/// `format_type(oid, typmod)`.
pub fn format_type(oid: u32, modifier: Option<i32>) -> String {
    if let Some(element) = TYPES.iter().find(|t| t.array == oid && oid != 0) {
        return format!("{}[]", format_type(element.oid, modifier));
    }
    let Some(found) = by_oid(oid) else { return "???".into() };
    match (found.name, modifier) {
        ("numeric", Some(m)) if m >= 4 => {
            let m = m - 4;
            format!("numeric({},{})", (m >> 16) & 0xffff, m & 0x7ff)
        }
        ("varchar", Some(m)) if m >= 4 => format!("character varying({})", m - 4),
        ("bpchar", Some(m)) if m >= 4 => format!("character({})", m - 4),
        _ => found.sql_name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;
    use std::sync::Arc;

    #[test]
    fn arrow_columns_have_the_types_of_postgres() {
        let ts = of_arrow(&DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())));
        assert_eq!(format_type(ts.oid, Some(ts.modifier)), "timestamp with time zone");
        let price = of_arrow(&DataType::Decimal128(10, 2));
        assert_eq!(format_type(price.oid, Some(price.modifier)), "numeric(10,2)");
        let tags = of_arrow(&DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))));
        assert_eq!((tags.oid, format_type(tags.oid, None).as_str()), (1009, "text[]"));
        assert_eq!(by_name("TEXT").map(|t| t.oid), Some(25));
        assert_eq!(by_name("double precision").map(|t| t.oid), Some(701));
    }
}

//! Arrow types as PostgreSQL types.
//!
//! Owns: OIDs, sizes and modifiers; which Arrow type a column is brought to before its cells are written.
//! Does not own: the writing (`text`, `binary`).
//! Invariants: every Arrow type has exactly one PostgreSQL type; what has no counterpart becomes json.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use pgwire::messages::data::FieldDescription;

/// A PostgreSQL type that stands alone or in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
}

impl Scalar {
    pub(super) fn oid(self) -> u32 {
        self.oids().0
    }

    /// OID of the type and of its array (`pg_type.dat` of PostgreSQL).
    fn oids(self) -> (u32, u32) {
        match self {
            Self::Bool => (16, 1000),
            Self::Bytea => (17, 1001),
            Self::Int8 => (20, 1016),
            Self::Int2 => (21, 1005),
            Self::Int4 => (23, 1007),
            Self::Text => (25, 1009),
            Self::Json => (114, 199),
            Self::Float4 => (700, 1021),
            Self::Float8 => (701, 1022),
            Self::Date => (1082, 1182),
            Self::Time => (1083, 1183),
            Self::Timestamp => (1114, 1115),
            Self::TimestampTz => (1184, 1185),
            Self::Interval => (1186, 1187),
            Self::Numeric => (1700, 1231),
            Self::Uuid => (2950, 2951),
        }
    }

    /// `typlen`: bytes, or -1 for variable ones.
    fn size(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Float4 | Self::Date => 4,
            Self::Int8 | Self::Float8 | Self::Time | Self::Timestamp | Self::TimestampTz => 8,
            Self::Interval | Self::Uuid => 16,
            Self::Numeric | Self::Text | Self::Bytea | Self::Json => -1,
        }
    }

    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => Self::Int2,
            DataType::UInt16 | DataType::Int32 => Self::Int4,
            // PostgreSQL has no unsigned types; a value beyond bigint is refused when it comes.
            DataType::UInt32 | DataType::UInt64 | DataType::Int64 => Self::Int8,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Numeric,
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytea,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::TimestampTz,
            DataType::Duration(_) | DataType::Interval(_) => Self::Interval,
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::RunEndEncoded(_, values) => Self::of(values.data_type()),
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::Struct(_)
            | DataType::Map(..)
            | DataType::Union(..) => Self::Json,
        }
    }
}

/// A result column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) scalar: Scalar,
    pub(super) array: bool,
    modifier: i32,
    /// The Arrow type that the column's batches are cast to before they are written.
    pub(super) arrow: DataType,
}

impl Column {
    pub(super) fn of(field: &Field) -> Self {
        let arrow = canonical(field.data_type());
        let (scalar, array) = match &arrow {
            DataType::List(item) if scalar_of(item) != Scalar::Json => (scalar_of(item), true),
            _ => (scalar_of(field), false),
        };
        let modifier = match field.data_type() {
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale)
                if *scale >= 0 =>
            {
                (i32::from(*precision) << 16 | i32::from(*scale)) + 4
            }
            _ => -1,
        };
        Self { name: field.name().clone(), scalar, array, modifier, arrow }
    }

    pub(super) fn oid(&self) -> u32 {
        let (alone, array) = self.scalar.oids();
        if self.array { array } else { alone }
    }

    pub(super) fn description(&self, format: i16) -> FieldDescription {
        let size = if self.array { -1 } else { self.scalar.size() };
        let name = self.name.replace('\0', "\u{fffd}");
        FieldDescription::new(name, 0, 0, self.oid(), size, self.modifier, format)
    }
}

/// The type that a parameter is announced with.
pub(super) fn parameter_oid(data_type: &DataType) -> u32 {
    Column::of(&Field::new("", data_type.clone(), true)).oid()
}

/// The Arrow type that a client means by an OID; none where it says nothing that helps to plan.
pub(super) fn parameter_type(oid: u32) -> Option<DataType> {
    Some(match oid {
        16 => DataType::Boolean,
        17 => DataType::Binary,
        20 => DataType::Int64,
        21 => DataType::Int16,
        23 => DataType::Int32,
        26 => DataType::Int64,
        25 | 1042 | 1043 => DataType::Utf8,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1082 => DataType::Date32,
        1083 => DataType::Time64(TimeUnit::Microsecond),
        1114 => DataType::Timestamp(TimeUnit::Microsecond, None),
        1184 => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        _ => return None,
    })
}

fn scalar_of(field: &Field) -> Scalar {
    let uuid = field.extension_type_name() == Some("arrow.uuid");
    match field.data_type() {
        DataType::FixedSizeBinary(16) if uuid => Scalar::Uuid,
        other => Scalar::of(other),
    }
}

/// The few Arrow types that cells are written from.
fn canonical(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Duration(_) | DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Dictionary(_, values) => canonical(values),
        DataType::RunEndEncoded(_, values) => canonical(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
            if scalar_of(item) != Scalar::Json =>
        {
            let item_type = canonical(item.data_type());
            DataType::List(item.as_ref().clone().with_data_type(item_type).into())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn column(data_type: DataType) -> Column {
        Column::of(&Field::new("c", data_type, true))
    }

    #[test]
    fn oids_and_modifiers() {
        for (data_type, oid) in [
            (DataType::UInt8, 21),
            (DataType::UInt64, 20),
            (DataType::Utf8View, 25),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), 1114),
            (DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), 1184),
            (DataType::new_list(DataType::Int32, true), 1007),
            (DataType::new_large_list(DataType::Utf8, true), 1009),
            (DataType::new_list(DataType::new_list(DataType::Int32, true), true), 114),
            (DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into()), 114),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), 25),
            (DataType::FixedSizeBinary(16), 17),
        ] {
            assert_eq!(column(data_type.clone()).oid(), oid, "{data_type}");
        }
        assert_eq!(column(DataType::Decimal128(10, 2)).modifier, (10 << 16 | 2) + 4);
        let uuid = Field::new("u", DataType::FixedSizeBinary(16), true)
            .with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into());
        assert_eq!(Column::of(&uuid).oid(), 2950);
        let uuids = Field::new("us", DataType::List(Arc::new(uuid)), true);
        assert_eq!(Column::of(&uuids).oid(), 2951);
    }
}

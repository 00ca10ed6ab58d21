//! Record batches as DataRow messages.
//!
//! Owns: bringing batches to their announced types, the layout of rows, arrays and json.
//! Does not own: the spelling of single values (`text`, `binary`).
//! Invariants: a row is appended whole or not at all; every row has the announced number and types of columns.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    Decimal256Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeBinaryArray, LargeStringArray, ListArray, RecordBatch, StringArray,
    StringBuilder, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::json::writer::{EncoderOptions, make_encoder};
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Offset, TimeZone};

use super::errors::Failure;
use super::types::{Column, Scalar};
use super::{binary, text};

/// Text or binary, per column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    pub(super) fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }

    /// Formats of `columns` columns from the codes that Bind carries: none (text), one for all, or one each.
    pub(super) fn of_codes(codes: &[i16], columns: usize) -> Result<Vec<Self>, Failure> {
        let of = |code: i16| match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            other => Err(Failure::new("08P01", format!("invalid format code {other}"))),
        };
        match codes {
            [] => Ok(vec![Self::Text; columns]),
            [all] => Ok(vec![of(*all)?; columns]),
            each if each.len() == columns => each.iter().map(|code| of(*code)).collect(),
            each => {
                let message = format!("bind message has {} format codes but {columns} columns", each.len());
                Err(Failure::new("08P01", message))
            }
        }
    }
}

/// A batch whose columns have been brought to their announced types.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<(Cells, Format)>,
    count: usize,
}

impl Rows {
    pub(super) fn new(batch: &RecordBatch, columns: &[Column], formats: &[Format]) -> Result<Self, Failure> {
        if batch.num_columns() != columns.len() {
            return Err(Failure::new("XX000", "the result has another number of columns than announced"));
        }
        let cells = |(array, column): (&ArrayRef, &Column)| Cells::new(array, column);
        let cells = batch.columns().iter().zip(columns).map(cells).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            columns: cells.into_iter().zip(formats.iter().copied()).collect(),
            count: batch.num_rows(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Appends row `row` as a DataRow message.
    pub(super) fn write(&self, row: usize, out: &mut BytesMut) -> Result<(), Failure> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_i32(0);
        out.put_i16(self.columns.len() as i16);
        for (cells, format) in &self.columns {
            if cells.is_null(row) {
                out.put_i32(-1);
            } else {
                sized(out, |out| cells.write(row, *format, out));
            }
        }
        // The length field covers itself but not the tag.
        match i32::try_from(out.len() - start - 1) {
            Ok(length) => {
                out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            Err(_) => {
                out.truncate(start);
                Err(Failure::new("54000", "a row is larger than 2 GiB"))
            }
        }
    }
}

/// Writes a value behind its length.
fn sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A column, by its kind.
#[derive(Debug)]
enum Cells {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Numeric(Decimal128Array),
    WideNumeric(Decimal256Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytea(BinaryArray),
    LargeBytea(LargeBinaryArray),
    ByteaView(BinaryViewArray),
    FixedBytea(FixedSizeBinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp { values: TimestampMicrosecondArray, zone: Option<Tz> },
    Interval(IntervalMonthDayNanoArray),
    List { lists: ListArray, items: Box<Cells>, oid: u32 },
}

impl Cells {
    fn new(array: &ArrayRef, column: &Column) -> Result<Self, Failure> {
        let array = brought_to(array, &column.arrow)?;
        if let DataType::List(_) = &column.arrow
            && column.array
        {
            let lists = array.as_list::<i32>().clone();
            let items = Self::of(lists.values(), column.scalar)?;
            return Ok(Self::List { lists, items: Box::new(items), oid: column.scalar.oid() });
        }
        Self::of(&array, column.scalar)
    }

    fn of(array: &ArrayRef, scalar: Scalar) -> Result<Self, Failure> {
        Ok(match array.data_type() {
            _ if scalar == Scalar::Json => Self::Text(json(array)?),
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Int16 => Self::Int2(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Self::Int4(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Self::Int8(array.as_primitive::<Int64Type>().clone()),
            DataType::Float32 => Self::Float4(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Float8(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(..) => Self::Numeric(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Decimal256(..) => Self::WideNumeric(array.as_primitive::<Decimal256Type>().clone()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string::<i64>().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Binary => Self::Bytea(array.as_binary::<i32>().clone()),
            DataType::LargeBinary => Self::LargeBytea(array.as_binary::<i64>().clone()),
            DataType::BinaryView => Self::ByteaView(array.as_binary_view().clone()),
            DataType::FixedSizeBinary(16) if scalar == Scalar::Uuid => {
                Self::Uuid(array.as_fixed_size_binary().clone())
            }
            DataType::FixedSizeBinary(_) => Self::FixedBytea(array.as_fixed_size_binary().clone()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time64(_) => Self::Time(array.as_primitive::<Time64MicrosecondType>().clone()),
            DataType::Timestamp(_, zone) => Self::Timestamp {
                values: array.as_primitive::<TimestampMicrosecondType>().clone(),
                zone: zone.as_deref().map(parse_zone).transpose()?,
            },
            DataType::Interval(_) => Self::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone()),
            other => return Err(Failure::unsupported(format!("columns of type {other} cannot be sent"))),
        })
    }

    fn array(&self) -> Option<&dyn Array> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(a) => a,
            Self::Int2(a) => a,
            Self::Int4(a) => a,
            Self::Int8(a) => a,
            Self::Float4(a) => a,
            Self::Float8(a) => a,
            Self::Numeric(a) => a,
            Self::WideNumeric(a) => a,
            Self::Text(a) => a,
            Self::LargeText(a) => a,
            Self::TextView(a) => a,
            Self::Bytea(a) => a,
            Self::LargeBytea(a) => a,
            Self::ByteaView(a) => a,
            Self::FixedBytea(a) | Self::Uuid(a) => a,
            Self::Date(a) => a,
            Self::Time(a) => a,
            Self::Timestamp { values, .. } => values,
            Self::Interval(a) => a,
            Self::List { lists, .. } => lists,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        self.array().is_none_or(|array| array.is_null(row))
    }

    fn write(&self, row: usize, format: Format, out: &mut BytesMut) {
        match format {
            Format::Text => self.write_text(row, out),
            Format::Binary => self.write_binary(row, out),
        }
    }

    fn write_text(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Null => {}
            Self::Bool(a) => text::boolean(a.value(row), out),
            Self::Int2(a) => text::integer(a.value(row).into(), out),
            Self::Int4(a) => text::integer(a.value(row).into(), out),
            Self::Int8(a) => text::integer(a.value(row), out),
            Self::Float4(a) => text::float4(a.value(row), out),
            Self::Float8(a) => text::float8(a.value(row), out),
            Self::Numeric(a) => out.put_slice(a.value_as_string(row).as_bytes()),
            Self::WideNumeric(a) => out.put_slice(a.value_as_string(row).as_bytes()),
            Self::Text(a) => out.put_slice(a.value(row).as_bytes()),
            Self::LargeText(a) => out.put_slice(a.value(row).as_bytes()),
            Self::TextView(a) => out.put_slice(a.value(row).as_bytes()),
            Self::Bytea(a) => text::bytea(a.value(row), out),
            Self::LargeBytea(a) => text::bytea(a.value(row), out),
            Self::ByteaView(a) => text::bytea(a.value(row), out),
            Self::FixedBytea(a) => text::bytea(a.value(row), out),
            Self::Uuid(a) => text::uuid(sixteen(a.value(row)), out),
            Self::Date(a) => text::date(a.value(row), out),
            Self::Time(a) => text::time(a.value(row), out),
            Self::Timestamp { values, zone } => {
                let micros = values.value(row);
                text::timestamp(micros, zone.map(|zone| offset_seconds(zone, micros)), out);
            }
            Self::Interval(a) => {
                let value = a.value(row);
                text::interval(value.months, value.days, value.nanoseconds, out);
            }
            Self::List { lists, items, .. } => write_list_text(lists, items, row, out),
        }
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Bool(a) => out.put_u8(u8::from(a.value(row))),
            Self::Int2(a) => out.put_i16(a.value(row)),
            Self::Int4(a) => out.put_i32(a.value(row)),
            Self::Int8(a) => out.put_i64(a.value(row)),
            Self::Float4(a) => out.put_f32(a.value(row)),
            Self::Float8(a) => out.put_f64(a.value(row)),
            Self::Numeric(a) => binary::numeric(&a.value_as_string(row), out),
            Self::WideNumeric(a) => binary::numeric(&a.value_as_string(row), out),
            Self::Bytea(a) => out.put_slice(a.value(row)),
            Self::LargeBytea(a) => out.put_slice(a.value(row)),
            Self::ByteaView(a) => out.put_slice(a.value(row)),
            Self::FixedBytea(a) | Self::Uuid(a) => out.put_slice(a.value(row)),
            Self::Date(a) => binary::date(a.value(row), out),
            Self::Time(a) => out.put_i64(a.value(row)),
            Self::Timestamp { values, .. } => binary::timestamp(values.value(row), out),
            Self::Interval(a) => {
                let value = a.value(row);
                binary::interval(value.months, value.days, value.nanoseconds, out);
            }
            Self::List { lists, items, oid } => write_list_binary(lists, items, *oid, row, out),
            // The binary form of text and json is their text.
            Self::Null | Self::Text(_) | Self::LargeText(_) | Self::TextView(_) => self.write_text(row, out),
        }
    }
}

fn parse_zone(name: &str) -> Result<Tz, Failure> {
    name.parse().map_err(|_| Failure::unsupported(format!("time zone {name} is not known")))
}

/// A zone's distance from UTC at a moment; moments that no calendar holds are shown in UTC.
fn offset_seconds(zone: Tz, micros: i64) -> i32 {
    DateTime::from_timestamp_micros(micros)
        .map_or(0, |moment| zone.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc())
}

fn sixteen(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().unwrap_or_default()
}

fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn write_list_text(lists: &ListArray, items: &Cells, row: usize, out: &mut BytesMut) {
    out.put_u8(b'{');
    let range = range(lists, row);
    let mut element = BytesMut::new();
    for at in range.clone() {
        if at > range.start {
            out.put_u8(b',');
        }
        if items.is_null(at) {
            out.put_slice(b"NULL");
        } else {
            element.clear();
            items.write_text(at, &mut element);
            text::array_element(&element, out);
        }
    }
    out.put_u8(b'}');
}

fn write_list_binary(lists: &ListArray, items: &Cells, oid: u32, row: usize, out: &mut BytesMut) {
    let range = range(lists, row);
    out.put_i32(i32::from(!range.is_empty()));
    out.put_i32(i32::from(range.clone().any(|at| items.is_null(at))));
    out.put_u32(oid);
    if range.is_empty() {
        return;
    }
    out.put_i32(range.len() as i32);
    // Arrays begin at index 1.
    out.put_i32(1);
    for at in range {
        if items.is_null(at) {
            out.put_i32(-1);
        } else {
            sized(out, |out| items.write_binary(at, out));
        }
    }
}

/// The array in the announced type; values that do not fit are refused, not turned into NULL.
fn brought_to(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    if !can_cast_types(array.data_type(), wanted) {
        return Err(Failure::unsupported("cached plan must not change result type")
            .with_hint("prepare the statement again"));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, wanted, &strict).map_err(|e| Failure::new("22003", e.to_string()))
}

/// Nested values as json text.
fn json(array: &ArrayRef) -> Result<StringArray, Failure> {
    let field = Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, array.as_ref(), &options)?;
    let mut builder = StringBuilder::new();
    let mut scratch = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
        } else {
            scratch.clear();
            encoder.encode(row, &mut scratch);
            builder.append_value(String::from_utf8_lossy(&scratch));
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;

//! Arrow values as JSON text.
//!
//! Owns: one writer per column, made once per batch.
//! Does not own: the schema of what is written (`encode`).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    Float32Array, Float64Array, Int64Array, LargeBinaryArray, LargeStringArray, ListArray, MapArray,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType as D, Date32Type, Decimal128Type, Decimal256Type, Field, Fields, Float32Type, Float64Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type,
};

use super::{EncodeError, is_text, unsupported};
use crate::calendar;

/// A value that JSON has no form for.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) column: String,
    pub(super) value: String,
}

/// Writes the rows of some columns as objects.
pub(super) struct ObjectWriter {
    members: Vec<MemberWriter>,
}

struct MemberWriter {
    name: String,
    /// `"name":`
    prefix: Vec<u8>,
    nulls: Option<NullBuffer>,
    values: ValueWriter,
}

/// Writes the values of one column.
enum ValueWriter {
    Boolean(BooleanArray),
    Int64(Int64Array),
    UInt64(UInt64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    Decimal128(Decimal128Array),
    Decimal256(Decimal256Array),
    Struct(ObjectWriter),
    List(ListArray, Box<Nested>),
    Map(MapArray, StringArray, Box<Nested>),
}

/// The values within lists and maps.
struct Nested {
    nulls: Option<NullBuffer>,
    values: ValueWriter,
}

impl Nested {
    fn new(array: &ArrayRef, path: &str) -> Result<Box<Self>, EncodeError> {
        Ok(Box::new(Self { nulls: array.logical_nulls(), values: ValueWriter::new(array, path)? }))
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        self.values.write(row, out)
    }
}

impl ObjectWriter {
    pub(super) fn new(fields: &Fields, columns: &[ArrayRef]) -> Result<Self, EncodeError> {
        Self::within(fields, columns, "")
    }

    fn within(fields: &[Arc<Field>], columns: &[ArrayRef], parent: &str) -> Result<Self, EncodeError> {
        let member = |(field, column): (&Arc<Field>, &ArrayRef)| {
            let name =
                if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
            let mut prefix = Vec::new();
            write_text(field.name(), &mut prefix);
            prefix.push(b':');
            let values = ValueWriter::new(column, &name)?;
            Ok(MemberWriter { name, prefix, nulls: column.logical_nulls(), values })
        };
        Ok(Self { members: fields.iter().zip(columns).map(member).collect::<Result<_, _>>()? })
    }

    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        out.push(b'{');
        let mut first = true;
        for member in &self.members {
            if member.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(&member.prefix);
            member.values.write(row, out).map_err(|value| Wrong { column: member.name.clone(), value })?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// The type that stands for all of its kind; none for the types that are written as they are.
fn canonical(data_type: &D) -> Option<D> {
    Some(match data_type {
        D::Int8 | D::Int16 | D::Int32 => D::Int64,
        D::UInt8 | D::UInt16 | D::UInt32 => D::UInt64,
        D::Utf8View => D::Utf8,
        D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        D::Date64 => D::Date32,
        D::Time32(_) | D::Time64(TimeUnit::Nanosecond) => D::Time64(TimeUnit::Microsecond),
        D::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            D::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        D::LargeList(items) | D::FixedSizeList(items, _) => D::List(items.clone()),
        D::Dictionary(_, values) => (**values).clone(),
        _ => return None,
    })
}

impl ValueWriter {
    fn new(array: &ArrayRef, path: &str) -> Result<Self, EncodeError> {
        let refused = || unsupported(path, array.data_type());
        if let Some(target) = canonical(array.data_type()) {
            return Self::new(&cast(array, &target).map_err(|_| refused())?, path);
        }
        Ok(match array.data_type() {
            D::Boolean => Self::Boolean(array.as_boolean().clone()),
            D::Int64 => Self::Int64(array.as_primitive::<Int64Type>().clone()),
            D::UInt64 => Self::UInt64(array.as_primitive::<UInt64Type>().clone()),
            D::Float32 => Self::Float32(array.as_primitive::<Float32Type>().clone()),
            D::Float64 => Self::Float64(array.as_primitive::<Float64Type>().clone()),
            D::Utf8 => Self::Text(array.as_string().clone()),
            D::LargeUtf8 => Self::LargeText(array.as_string().clone()),
            D::Binary => Self::Binary(array.as_binary().clone()),
            D::LargeBinary => Self::LargeBinary(array.as_binary().clone()),
            D::Date32 => Self::Date(array.as_primitive::<Date32Type>().clone()),
            D::Time64(TimeUnit::Microsecond) => {
                Self::Time(array.as_primitive::<Time64MicrosecondType>().clone())
            }
            D::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            D::Decimal128(..) => Self::Decimal128(array.as_primitive::<Decimal128Type>().clone()),
            D::Decimal256(..) => Self::Decimal256(array.as_primitive::<Decimal256Type>().clone()),
            D::Struct(fields) if !fields.is_empty() => {
                Self::Struct(ObjectWriter::within(fields, array.as_struct().columns(), path)?)
            }
            D::List(_) => {
                let list = array.as_list::<i32>().clone();
                let items = Nested::new(list.values(), &format!("{path}[]"))?;
                Self::List(list, items)
            }
            D::Map(..) => {
                let map = array.as_map().clone();
                if !is_text(map.keys().data_type()) {
                    return Err(refused());
                }
                let keys = cast(map.keys(), &D::Utf8).map_err(|_| refused())?.as_string().clone();
                let values = Nested::new(map.values(), &format!("{path}{{}}"))?;
                Self::Map(map, keys, values)
            }
            _ => return Err(refused()),
        })
    }

    /// Writes a value that is not null; the error is the value in words.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Boolean(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Self::Int64(a) => out.extend_from_slice(a.value(row).to_string().as_bytes()),
            Self::UInt64(a) => out.extend_from_slice(a.value(row).to_string().as_bytes()),
            Self::Float32(a) => write_float(a.value(row), a.value(row).is_finite(), out)?,
            Self::Float64(a) => write_float(a.value(row), a.value(row).is_finite(), out)?,
            Self::Text(a) => write_text(a.value(row), out),
            Self::LargeText(a) => write_text(a.value(row), out),
            Self::Binary(a) => write_base64(a.value(row), out),
            Self::LargeBinary(a) => write_base64(a.value(row), out),
            Self::Decimal128(a) => out.extend_from_slice(a.value_as_string(row).as_bytes()),
            Self::Decimal256(a) => out.extend_from_slice(a.value_as_string(row).as_bytes()),
            Self::Date(a) => {
                let days = a.value(row);
                quoted(out, |out| calendar::write_date(out, days.into()))
                    .ok_or_else(|| format!("a date {days} days from 1970"))?;
            }
            Self::Time(a) => {
                let us = a.value(row);
                quoted(out, |out| calendar::write_time(out, us))
                    .ok_or_else(|| format!("a time of {us} microseconds"))?;
            }
            Self::Timestamp(a) => {
                let us = a.value(row);
                quoted(out, |out| calendar::write_timestamp(out, us))
                    .ok_or_else(|| format!("a timestamp {us} microseconds from 1970"))?;
            }
            Self::Struct(object) => object.write(row, out).map_err(|wrong| wrong.value)?,
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                out.push(b'[');
                for index in offsets[row]..offsets[row + 1] {
                    if index > offsets[row] {
                        out.push(b',');
                    }
                    items.write(index as usize, out)?;
                }
                out.push(b']');
            }
            Self::Map(map, keys, values) => {
                let offsets = map.value_offsets();
                out.push(b'{');
                for index in offsets[row]..offsets[row + 1] {
                    if index > offsets[row] {
                        out.push(b',');
                    }
                    write_text(keys.value(index as usize), out);
                    out.push(b':');
                    values.write(index as usize, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<()> {
    out.push(b'"');
    let written = write(out);
    out.push(b'"');
    written.then_some(())
}

fn write_float<T: serde::Serialize + std::fmt::Display>(
    value: T,
    finite: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if !finite {
        return Err(value.to_string());
    }
    // The shortest text that reads back to the same number.
    serde_json::to_writer(out, &value).map_err(|e| e.to_string())
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest[..plain]);
        let byte = rest[plain];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Base64 of RFC 4648 §4, with padding.
fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { digit } else { b'=' });
        }
    }
    out.push(b'"');
}

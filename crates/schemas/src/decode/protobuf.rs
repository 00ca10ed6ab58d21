//! Protobuf's wire format into columns.
//!
//! Owns: walking a message along its plan, rejecting what does not fit.
//! Does not own: the primitives (`reader`), columns, which message a value holds.
//! Invariants: a value that is rejected leaves no trace in any column; what a value adds to the columns is bounded by
//! its length (`Budget`), and so is the work: each byte is looked at once for each level it is nested in, but for maps
//! with doubled keys, which take from the budget twice.
//!
//! As the specification has it: unknown fields are passed over, of a field that comes again the last value counts,
//! messages that come again are merged, list items may be packed or not, the last member of a oneof counts, of a map's
//! equal keys the last one counts. A known field with another wire type is refused rather than taken for unknown.

use std::borrow::Cow;
use std::io::Write;

use super::budget::Budget;
use super::column::{BytesColumn, Column, ListColumn, MapColumn, StructColumn};
use super::refused::{Fit, malformed, mismatch, prepend, prepend_index, too_large};

mod plan;
mod reader;

pub use plan::FIELD_KEY;
pub(super) use plan::Plan;
use plan::{Absent, Field, Message, Scalar, Shape, Value};
use reader::{Reader, Wire};

/// Reads a value as the next row of `root`.
pub(super) fn record(plan: &Plan, root: &mut StructColumn, bytes: &[u8]) -> Fit {
    Walk { budget: Budget::of(bytes.len()) }.message(&plan.root, root, bytes)
}

/// One value being read.
struct Walk {
    budget: Budget,
}

/// What is known of a message before it is finished.
struct Open<'b> {
    /// Bytes of fields that hold one message, by slot: joined when it comes again, which merges them.
    parts: Vec<Option<Cow<'b, [u8]>>>,
    /// The member that was read last, by oneof.
    members: Vec<Option<usize>>,
}

/// A field that is a map.
struct MapField<'p> {
    number: u32,
    key: &'p Value,
    value: &'p Value,
    cells: usize,
}

impl Walk {
    fn message(&mut self, plan: &Message, column: &mut StructColumn, bytes: &[u8]) -> Fit {
        let row = column.len();
        let mut open = Open { parts: vec![None; plan.slots], members: vec![None; plan.oneofs] };
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.tag()? {
            let Some(index) = plan.find(number) else {
                reader.skip(number, wire)?;
                continue;
            };
            let field = &plan.fields[index];
            if let Some(oneof) = field.oneof {
                let before = open.members[oneof].replace(index).filter(|before| *before != index);
                if let Some(before) = before {
                    self.drop_member(&plan.fields[before], &mut open, &mut column.children[before], row)?;
                }
            }
            self.field(field, wire, &mut reader, &mut column.children[index], row, &mut open)
                .map_err(|refused| refused.within(|path| prepend(path, &field.name)))?;
        }
        for (field, child) in plan.fields.iter().zip(&mut column.children) {
            self.finish(field, child, row, &mut open, bytes)
                .map_err(|refused| refused.within(|path| prepend(path, &field.name)))?;
        }
        column.nulls.append_non_null();
        Ok(())
    }

    /// Another member of its oneof has come. What is dropped must be sound all the same.
    fn drop_member(&mut self, field: &Field, open: &mut Open<'_>, column: &mut Column, row: usize) -> Fit {
        if let Shape::Single(value @ (Value::Timestamp { slot } | Value::Message { slot, .. }), _) =
            &field.shape
            && let Some(part) = open.parts[*slot].take()
        {
            self.message_value(value, column, &part)?;
        }
        column.truncate(row);
        Ok(())
    }

    fn field<'b>(
        &mut self,
        field: &Field,
        wire: Wire,
        reader: &mut Reader<'b>,
        column: &mut Column,
        row: usize,
        open: &mut Open<'b>,
    ) -> Fit {
        match (&field.shape, column) {
            (Shape::Single(Value::Scalar(scalar), _), column) => {
                if column.len() > row {
                    column.truncate(row);
                }
                check_wire(scalar.wire(), wire)?;
                self.scalar(scalar, reader, column)
            }
            (Shape::Single(Value::Timestamp { slot } | Value::Message { slot, .. }, _), _) => {
                check_wire(Wire::Sized, wire)?;
                join(&mut open.parts[*slot], reader.sized()?);
                Ok(())
            }
            (Shape::Repeated(value, cells), Column::List(column)) => {
                self.items(value, *cells, wire, reader, column)
            }
            (Shape::Map(key, value, cells), Column::Map(column)) => {
                check_wire(Wire::Sized, wire)?;
                self.budget.take(1, *cells)?;
                self.entry(key, value, column, reader.sized()?)
            }
            _ => Err(mismatch("has a column of another type".into())),
        }
    }

    /// Completes a field's value for the row.
    fn finish(
        &mut self,
        field: &Field,
        column: &mut Column,
        row: usize,
        open: &mut Open<'_>,
        bytes: &[u8],
    ) -> Fit {
        match (&field.shape, column) {
            (Shape::Single(value, absent), column) => {
                if let Value::Timestamp { slot } | Value::Message { slot, .. } = value
                    && let Some(part) = open.parts[*slot].take()
                {
                    return self.message_value(value, column, &part);
                }
                if column.len() > row {
                    return Ok(());
                }
                match absent {
                    Absent::Null => column.push_null(),
                    Absent::Default => return self.default(value, column),
                    Absent::Refused => return Err(mismatch("is missing, but required".into())),
                }
                Ok(())
            }
            (Shape::Repeated(..), Column::List(column)) => match column.finish_value() {
                true => Ok(()),
                false => Err(too_large("the batch holds too many items".into())),
            },
            (Shape::Map(key, value, cells), Column::Map(column)) => {
                let doubled = column.doubled_keys();
                if !doubled.is_empty() {
                    column.drop_open();
                    let map = MapField { number: field.number, key, value, cells: *cells };
                    self.entries_again(&map, column, bytes, &doubled)?;
                }
                match column.finish_value() {
                    true => Ok(()),
                    false => Err(too_large("the batch holds too many entries".into())),
                }
            }
            _ => Err(mismatch("has a column of another type".into())),
        }
    }

    fn message_value(&mut self, value: &Value, column: &mut Column, bytes: &[u8]) -> Fit {
        match (value, column) {
            (Value::Message { message, .. }, Column::Struct(column)) => self.message(message, column, bytes),
            (Value::Timestamp { .. }, Column::Long { values, nulls }) => {
                values.push(timestamp(bytes)?);
                nulls.append_non_null();
                Ok(())
            }
            _ => Err(mismatch("has a column of another type".into())),
        }
    }

    /// One item, or several packed ones, of the list that is not finished yet.
    fn items(
        &mut self,
        value: &Value,
        cells: usize,
        wire: Wire,
        reader: &mut Reader<'_>,
        column: &mut ListColumn,
    ) -> Fit {
        let index = column.open_len();
        let at = |refused: Box<super::refused::Refused>| refused.within(|path| prepend_index(path, index));
        match value {
            Value::Scalar(scalar) if wire == Wire::Sized && scalar.wire() != Wire::Sized => {
                let mut packed = Reader::new(reader.sized()?);
                while !packed.is_at_end() {
                    self.scalar(scalar, &mut packed, &mut column.items).map_err(at)?;
                }
                Ok(())
            }
            Value::Scalar(scalar) => {
                check_wire(scalar.wire(), wire)?;
                self.scalar(scalar, reader, &mut column.items).map_err(at)
            }
            Value::Timestamp { .. } | Value::Message { .. } => {
                check_wire(Wire::Sized, wire)?;
                self.budget.take(1, cells)?;
                self.message_value(value, &mut column.items, reader.sized()?).map_err(at)
            }
        }
    }

    /// Reads an entry of the map that is not finished yet.
    fn entry(&mut self, key: &Value, value: &Value, column: &mut MapColumn, bytes: &[u8]) -> Fit {
        let row = column.keys.len();
        let mut part: Option<Cow<'_, [u8]>> = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.tag()? {
            let (value, child) = match number {
                1 => (key, &mut column.keys),
                2 => (value, &mut column.values),
                _ => {
                    reader.skip(number, wire)?;
                    continue;
                }
            };
            match value {
                Value::Scalar(scalar) => {
                    check_wire(scalar.wire(), wire)?;
                    child.truncate(row);
                    self.scalar(scalar, &mut reader, child)?;
                }
                Value::Timestamp { .. } | Value::Message { .. } => {
                    check_wire(Wire::Sized, wire)?;
                    join(&mut part, reader.sized()?);
                }
            }
        }
        if column.keys.len() == row {
            self.default(key, &mut column.keys)?;
        }
        if let Some(part) = part {
            return self.message_value(value, &mut column.values, &part);
        }
        if column.values.len() == row { self.default(value, &mut column.values) } else { Ok(()) }
    }

    /// Reads a map's entries anew from its message, but for those at the positions in `superseded` (ascending).
    fn entries_again(
        &mut self,
        map: &MapField<'_>,
        column: &mut MapColumn,
        bytes: &[u8],
        superseded: &[usize],
    ) -> Fit {
        let mut superseded = superseded.iter().copied().peekable();
        let mut position = 0;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.tag()? {
            if number != map.number {
                reader.skip(number, wire)?;
                continue;
            }
            let entry = reader.sized()?;
            if superseded.next_if_eq(&position).is_none() {
                // Maps of maps with doubled keys are read again and again: that has an end too.
                self.budget.take(1, map.cells)?;
                self.entry(map.key, map.value, column, entry)?;
            }
            position += 1;
        }
        Ok(())
    }

    /// The value of a field that was left out.
    fn default(&mut self, value: &Value, column: &mut Column) -> Fit {
        match (value, column) {
            (Value::Scalar(Scalar::Uint64 | Scalar::Fixed64), Column::Bytes { values, nulls }) => {
                values.bytes.push(b'0');
                finish_bytes(values)?;
                nulls.append_non_null();
            }
            (Value::Scalar(Scalar::Enum { names, default }), Column::Bytes { values, nulls }) => {
                push_name(names.get(default), *default, values)?;
                nulls.append_non_null();
            }
            (Value::Scalar(_), column) => column.push_default(),
            (value, column) => return self.message_value(value, column, &[]),
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar, reader: &mut Reader<'_>, column: &mut Column) -> Fit {
        match (scalar, column) {
            (Scalar::Text, Column::Bytes { values, nulls }) => {
                let text = reader.sized()?;
                if let Err(error) = std::str::from_utf8(text) {
                    let message = format!("a string is no UTF-8 at its byte {}", error.valid_up_to());
                    return Err(malformed(message));
                }
                values.bytes.extend_from_slice(text);
                finish_bytes(values)?;
                nulls.append_non_null();
            }
            (Scalar::Bytes, Column::Bytes { values, nulls }) => {
                values.bytes.extend_from_slice(reader.sized()?);
                finish_bytes(values)?;
                nulls.append_non_null();
            }
            (Scalar::Uint64 | Scalar::Fixed64, Column::Bytes { values, nulls }) => {
                let value = match scalar {
                    Scalar::Uint64 => reader.varint()?,
                    _ => u64::from_le_bytes(reader.array()?),
                };
                // Writing to a vector does not fail.
                let _ = write!(values.bytes, "{value}");
                finish_bytes(values)?;
                nulls.append_non_null();
            }
            (Scalar::Enum { names, .. }, Column::Bytes { values, nulls }) => {
                let number = reader.varint()? as i32;
                push_name(names.get(&number), number, values)?;
                nulls.append_non_null();
            }
            (Scalar::Bool, Column::Boolean { values, nulls }) => {
                values.append(reader.varint()? != 0);
                nulls.append_non_null();
            }
            (Scalar::Float, Column::Float { values, nulls }) => {
                values.push(f32::from_le_bytes(reader.array()?));
                nulls.append_non_null();
            }
            (Scalar::Double, Column::Double { values, nulls }) => {
                values.push(f64::from_le_bytes(reader.array()?));
                nulls.append_non_null();
            }
            (scalar, Column::Int { values, nulls }) => {
                values.push(scalar.read_i32(reader)?);
                nulls.append_non_null();
            }
            (scalar, Column::Long { values, nulls }) => {
                values.push(scalar.read_i64(reader)?);
                nulls.append_non_null();
            }
            _ => return Err(mismatch("has a column of another type".into())),
        }
        Ok(())
    }
}

impl Scalar {
    /// How a value of it is laid out.
    #[inline]
    fn wire(&self) -> Wire {
        match self {
            Self::Text | Self::Bytes => Wire::Sized,
            Self::Float | Self::Sfixed32 | Self::Fixed32 => Wire::Four,
            Self::Double | Self::Sfixed64 | Self::Fixed64 => Wire::Eight,
            _ => Wire::Varint,
        }
    }

    #[inline]
    fn read_i32(&self, reader: &mut Reader<'_>) -> Fit<i32> {
        Ok(match self {
            Self::Sfixed32 => i32::from_le_bytes(reader.array()?),
            Self::Sint32 => {
                let value = reader.varint()? as u32;
                (value >> 1) as i32 ^ -((value & 1) as i32)
            }
            // The specification takes the low bits of a longer number.
            _ => reader.varint()? as i32,
        })
    }

    #[inline]
    fn read_i64(&self, reader: &mut Reader<'_>) -> Fit<i64> {
        Ok(match self {
            Self::Sfixed64 => i64::from_le_bytes(reader.array()?),
            Self::Fixed32 => i64::from(u32::from_le_bytes(reader.array()?)),
            Self::Uint32 => i64::from(reader.varint()? as u32),
            Self::Sint64 => {
                let value = reader.varint()?;
                (value >> 1) as i64 ^ -((value & 1) as i64)
            }
            _ => reader.varint()? as i64,
        })
    }
}

#[inline]
fn check_wire(expected: Wire, found: Wire) -> Fit {
    if expected == found {
        return Ok(());
    }
    Err(mismatch(format!(
        "has wire type {found:?} instead of {expected:?}: it was written with another schema"
    )))
}

/// Bytes of a message that come again are joined to those before.
fn join<'b>(part: &mut Option<Cow<'b, [u8]>>, bytes: &'b [u8]) {
    match part {
        None => *part = Some(Cow::Borrowed(bytes)),
        Some(part) => part.to_mut().extend_from_slice(bytes),
    }
}

#[inline]
fn finish_bytes(values: &mut BytesColumn) -> Fit {
    match values.finish_value() {
        true => Ok(()),
        false => Err(too_large("the batch holds too many bytes in one column".into())),
    }
}

/// An enum's name; its number where it has none.
fn push_name(name: Option<&Box<str>>, number: i32, values: &mut BytesColumn) -> Fit {
    match name {
        Some(name) => values.bytes.extend_from_slice(name.as_bytes()),
        // Writing to a vector does not fail.
        None => drop(write!(values.bytes, "{number}")),
    }
    finish_bytes(values)
}

/// A `google.protobuf.Timestamp` as microseconds.
fn timestamp(bytes: &[u8]) -> Fit<i64> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 | 2 => {
                check_wire(Wire::Varint, wire)?;
                let value = reader.varint()?;
                if number == 1 { seconds = value as i64 } else { nanos = value as i32 }
            }
            _ => reader.skip(number, wire)?,
        }
    }
    let micros = seconds.checked_mul(1_000_000).and_then(|us| us.checked_add(i64::from(nanos / 1000)));
    match micros {
        Some(micros) if (0..1_000_000_000).contains(&nanos) => Ok(micros),
        _ => Err(mismatch(format!("{seconds} s and {nanos} ns are no timestamp"))),
    }
}

#[cfg(test)]
mod tests;

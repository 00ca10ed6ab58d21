//! Avro's binary encoding into columns.
//!
//! Owns: walking a value along its plan, rejecting what does not fit.
//! Does not own: the primitives (`reader`), columns, which schema wrote a value.
//! Invariants: a value that is rejected leaves no trace in any column; what a value adds to the columns is bounded by
//! its length (`Budget`).

use arrow::array::NullBufferBuilder;

use super::budget::Budget;
use super::column::{BytesColumn, Column, ListColumn, MapColumn, StructColumn};
use super::refused::{Fit, malformed, mismatch, prepend, prepend_index, too_large};
use crate::calendar::DAY_US;

mod plan;
mod reader;

pub use plan::ALIASES_KEY;
pub(super) use plan::Plan;
use plan::{Branch, Node, Read, Record, Unit};
use reader::Reader;

/// Reads a value as the next row of `root`.
pub(super) fn record(plan: &Plan, root: &mut StructColumn, bytes: &[u8]) -> Fit {
    let mut walk = Walk { reader: Reader::new(bytes), budget: Budget::of(bytes.len()) };
    walk.record(&plan.root, root)?;
    match walk.reader.left() {
        0 => Ok(()),
        left => Err(malformed(format!(
            "{left} bytes follow the record's {}: it was written with another schema",
            bytes.len() - left
        ))),
    }
}

/// One value being read.
struct Walk<'a> {
    reader: Reader<'a>,
    budget: Budget,
}

impl Walk<'_> {
    fn record(&mut self, plan: &Record, column: &mut StructColumn) -> Fit {
        for field in &plan.fields {
            let read = match field.column {
                Some(index) => self.value(&field.node.read, &mut column.children[index]),
                None => self.skip(&field.node),
            };
            read.map_err(|refused| refused.within(|path| prepend(path, &field.name)))?;
        }
        column.nulls.append_non_null();
        Ok(())
    }

    /// Reads a value as the next one of `column`, which was made for its type.
    fn value(&mut self, read: &Read, column: &mut Column) -> Fit {
        match (read, column) {
            (Read::Text, Column::Bytes { values, nulls }) => {
                let text = self.text("a string")?;
                push_bytes(text, values, nulls)
            }
            (Read::Bytes, Column::Bytes { values, nulls }) => {
                let bytes = self.reader.sized("bytes")?;
                push_bytes(bytes, values, nulls)
            }
            (Read::Int, Column::Int { values, nulls }) => push(self.reader.int()?, values, nulls),
            (Read::Long, Column::Long { values, nulls }) => push(self.reader.long()?, values, nulls),
            (Read::Float, Column::Float { values, nulls }) => {
                push(f32::from_le_bytes(self.reader.array("a float")?), values, nulls)
            }
            (Read::Double, Column::Double { values, nulls }) => {
                push(f64::from_le_bytes(self.reader.array("a double")?), values, nulls)
            }
            (Read::Boolean, Column::Boolean { values, nulls }) => {
                values.append(self.reader.boolean()?);
                nulls.append_non_null();
                Ok(())
            }
            (Read::Optional(null, node), column) => match (self.branch(2)?, *null) {
                (index, null) if index == usize::from(null) => {
                    column.push_null();
                    Ok(())
                }
                _ => self.value(&node.read, column),
            },
            (Read::Only(node), column) => {
                self.branch(1)?;
                self.value(&node.read, column)
            }
            (Read::Timestamp(unit), Column::Long { values, nulls }) => {
                push(micros(*unit, self.reader.long()?)?, values, nulls)
            }
            (Read::TimeMillis, Column::Long { values, nulls }) => {
                push(time(i64::from(self.reader.int()?), 1000)?, values, nulls)
            }
            (Read::TimeMicros, Column::Long { values, nulls }) => {
                push(time(self.reader.long()?, 1)?, values, nulls)
            }
            (Read::Enum(symbols), Column::Bytes { values, nulls }) => {
                let symbol = self.symbol(symbols)?;
                push_bytes(symbol.as_bytes(), values, nulls)
            }
            (Read::Record(record), Column::Struct(column)) => self.record(record, column),
            (Read::Array(items), Column::List(column)) => self.array(items, column),
            (Read::Map(values), Column::Map(column)) => self.map(values, column),
            (Read::Union(branches), Column::Struct(column)) => self.union(branches, column),
            (read, column) => self.fixed_width(read, column),
        }
    }

    /// Types of which there are few.
    fn fixed_width(&mut self, read: &Read, column: &mut Column) -> Fit {
        match (read, column) {
            (Read::Fixed(size), Column::Fixed { bytes, nulls, .. }) => {
                bytes.extend_from_slice(self.reader.bytes(*size, "a fixed")?);
                nulls.append_non_null();
                Ok(())
            }
            (Read::UuidText, Column::Fixed { bytes, nulls, .. }) => {
                let text = self.text("a uuid")?;
                let Ok(uuid) = uuid::Uuid::try_parse_ascii(text) else {
                    let shown: String = String::from_utf8_lossy(text).chars().take(64).collect();
                    return Err(mismatch(format!("expected a UUID, found \"{shown}\"")));
                };
                bytes.extend_from_slice(uuid.as_bytes());
                nulls.append_non_null();
                Ok(())
            }
            (Read::DecimalBytes(precision), Column::Decimal { values, nulls }) => {
                push(decimal(self.reader.sized("a decimal")?, *precision)?, values, nulls)
            }
            (Read::DecimalFixed(size, precision), Column::Decimal { values, nulls }) => {
                push(decimal(self.reader.bytes(*size, "a decimal")?, *precision)?, values, nulls)
            }
            _ => Err(mismatch("has a column of another type".into())),
        }
    }

    #[inline]
    fn text(&mut self, what: &str) -> Fit<&[u8]> {
        let bytes = self.reader.sized(what)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(malformed(format!("{what} is no UTF-8 at its byte {}", error.valid_up_to()))),
        }
    }

    fn symbol<'s>(&mut self, symbols: &'s [Box<str>]) -> Fit<&'s str> {
        let index = self.reader.int()?;
        match usize::try_from(index).ok().and_then(|index| symbols.get(index)) {
            Some(symbol) => Ok(symbol),
            None => Err(malformed(format!(
                "the enum's index {index} is not one of its {} symbols",
                symbols.len()
            ))),
        }
    }

    /// Index of a union's type.
    #[inline]
    fn branch(&mut self, count: usize) -> Fit<usize> {
        let index = self.reader.long()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(malformed(format!("the union's index {index} is not one of its {count} types"))),
        }
    }

    fn union(&mut self, branches: &[Branch], column: &mut StructColumn) -> Fit {
        let branch = &branches[self.branch(branches.len())?];
        if branch.is_null {
            column.children.iter_mut().for_each(Column::push_null);
            column.nulls.append_null();
            return Ok(());
        }
        match branch.column {
            Some(index) => self.value(&branch.node.read, &mut column.children[index])?,
            None => self.skip(&branch.node)?,
        }
        for (index, child) in column.children.iter_mut().enumerate() {
            if branch.column != Some(index) {
                child.push_null();
            }
        }
        column.nulls.append_non_null();
        Ok(())
    }

    /// Holds a block's count against what is left: an item that becomes a column has at least one byte.
    fn counted(&mut self, count: u64, cells: usize) -> Fit<usize> {
        match usize::try_from(count) {
            Ok(count) if count <= self.reader.left() => self.budget.take(count, cells).map(|()| count),
            _ => {
                Err(malformed(format!("a block of {count} items, but {} bytes are left", self.reader.left())))
            }
        }
    }

    fn array(&mut self, items: &Node, column: &mut ListColumn) -> Fit {
        let mut index = 0;
        while let Some((count, _)) = self.reader.block()? {
            for _ in 0..self.counted(count, items.cells)? {
                self.value(&items.read, &mut column.items)
                    .map_err(|refused| refused.within(|path| prepend_index(path, index)))?;
                index += 1;
            }
        }
        if column.finish_value() { Ok(()) } else { Err(too_large("the batch holds too many items".into())) }
    }

    fn map(&mut self, values: &Node, column: &mut MapColumn) -> Fit {
        let start = self.reader;
        self.entries(values, column, &[])?;
        let doubled = column.doubled_keys();
        if !doubled.is_empty() {
            column.drop_open();
            self.reader = start;
            self.entries(values, column, &doubled)?;
        }
        if column.finish_value() { Ok(()) } else { Err(too_large("the batch holds too many entries".into())) }
    }

    /// Reads a map's entries, but for those at the positions in `superseded` (ascending).
    fn entries(&mut self, node: &Node, column: &mut MapColumn, superseded: &[usize]) -> Fit {
        let mut superseded = superseded.iter().copied().peekable();
        let mut position = 0;
        while let Some((count, _)) = self.reader.block()? {
            for _ in 0..self.counted(count, node.cells + 1)? {
                if superseded.next_if_eq(&position).is_some() {
                    self.reader.sized("a map's key")?;
                    self.skip(node)?;
                } else {
                    self.value(&Read::Text, &mut column.keys)?;
                    self.value(&node.read, &mut column.values)
                        .map_err(|refused| refused.within(|path| prepend(path, "{}")))?;
                }
                position += 1;
            }
        }
        Ok(())
    }

    /// Passes over a value.
    fn skip(&mut self, node: &Node) -> Fit {
        match &node.read {
            Read::Null => {}
            Read::Boolean => drop(self.reader.boolean()?),
            Read::Int | Read::TimeMillis | Read::Long | Read::TimeMicros | Read::Timestamp(_) => {
                self.reader.long()?;
            }
            Read::Float => drop(self.reader.bytes(4, "a float")?),
            Read::Double => drop(self.reader.bytes(8, "a double")?),
            Read::Bytes | Read::Text | Read::DecimalBytes(_) | Read::UuidText => {
                self.reader.sized("bytes")?;
            }
            Read::Enum(symbols) => drop(self.symbol(symbols)?),
            Read::Fixed(size) | Read::DecimalFixed(size, _) => drop(self.reader.bytes(*size, "a fixed")?),
            Read::Record(record) => record.fields.iter().try_for_each(|field| self.skip(&field.node))?,
            Read::Array(items) => self.skip_blocks(items, false)?,
            Read::Map(values) => self.skip_blocks(values, true)?,
            Read::Optional(null, node) => {
                if self.branch(2)? != usize::from(*null) {
                    self.skip(node)?;
                }
            }
            Read::Only(node) => {
                self.branch(1)?;
                self.skip(node)?;
            }
            Read::Union(branches) => {
                let branch = &branches[self.branch(branches.len())?];
                self.skip(&branch.node)?;
            }
        }
        Ok(())
    }

    fn skip_blocks(&mut self, items: &Node, has_keys: bool) -> Fit {
        while let Some((count, bytes)) = self.reader.block()? {
            if let Some(bytes) = bytes {
                self.reader.bytes(bytes, "a block")?;
                continue;
            }
            for _ in 0..count {
                let left = self.reader.left();
                if has_keys {
                    self.reader.sized("a map's key")?;
                }
                self.skip(items)?;
                if self.reader.left() == left {
                    // Items of no bytes, such as nulls: the rest of them are like this one.
                    break;
                }
            }
        }
        Ok(())
    }
}

#[inline]
fn push<T>(value: T, values: &mut Vec<T>, nulls: &mut NullBufferBuilder) -> Fit {
    values.push(value);
    nulls.append_non_null();
    Ok(())
}

#[inline]
fn push_bytes(bytes: &[u8], values: &mut BytesColumn, nulls: &mut NullBufferBuilder) -> Fit {
    values.bytes.extend_from_slice(bytes);
    if !values.finish_value() {
        return Err(too_large("the batch holds too many bytes in one column".into()));
    }
    nulls.append_non_null();
    Ok(())
}

/// Microseconds; nanoseconds are cut off, towards the past.
#[inline]
fn micros(unit: Unit, value: i64) -> Fit<i64> {
    match unit {
        Unit::Micros => Ok(value),
        Unit::Nanos => Ok(value.div_euclid(1000)),
        Unit::Millis => value
            .checked_mul(1000)
            .ok_or_else(|| mismatch(format!("{value} ms is a timestamp beyond 64 bits of microseconds"))),
    }
}

fn time(value: i64, unit_us: i64) -> Fit<i64> {
    match value.checked_mul(unit_us) {
        Some(us) if (0..DAY_US).contains(&us) => Ok(us),
        _ => Err(mismatch(format!("{value} is no time of one day"))),
    }
}

/// A big-endian number in two's complement, of any length.
fn decimal(bytes: &[u8], precision: u8) -> Fit<i128> {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let kept = bytes.len().saturating_sub(16);
    let (extension, digits) = bytes.split_at(kept);
    let mut wide = [sign; 16];
    wide[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(wide);
    let fits = extension.iter().all(|b| *b == sign) && (value < 0) == (sign == 0xff);
    if fits && value.unsigned_abs() < 10_u128.pow(u32::from(precision)) {
        return Ok(value);
    }
    Err(mismatch(format!("a decimal of more than {precision} digits")))
}

#[cfg(test)]
mod tests;

//! JSON records into columns.
//!
//! Owns: walking a record along its plan, rejecting what does not fit.
//! Does not own: the grammar of tokens (`scanner`, `number`), columns, records without a schema (`inferred`).
//! Invariants: a record that is rejected leaves no trace in any column.

use serde_json::Value;

use super::RejectCode;
use super::budget::Budget;
use super::column::{BytesColumn, Column, Habit, ListColumn, MapColumn, StructColumn};
use super::number::NoInteger;
use super::plan::{Kind, Node, Object, Plan};
use super::refused::{Fit, Refused, mismatch, prepend, prepend_index, too_large};
use crate::{calendar, dialect};

pub(super) mod inferred;
mod names;
mod scanner;

pub(super) use names::Known;
use names::Name;
use scanner::Scanner;

/// Length of Confluent's prefix: a zero byte and four bytes of schema id.
const WIRE_PREFIX_BYTES: usize = 5;

/// Reads a value as the next row of `root`.
pub(super) fn record(plan: &Plan, root: &mut StructColumn, bytes: &[u8], unescaped: &mut Vec<u8>) -> Fit {
    let bytes = bare(bytes)?;
    let mut walk = Walk { scanner: Scanner::new(bytes), unescaped, budget: Budget::of(bytes.len()) };
    walk.scanner.space();
    match (plan.root.fields.as_slice(), root.children.as_mut_slice()) {
        ([member], [column]) if plan.is_bare => {
            walk.value(&member.node, column, member.node.nullable, 0)
                .map_err(|refused| refused.within(|path| prepend(path, &member.name)))?;
            root.nulls.append_non_null();
        }
        _ if walk.scanner.peek() == Some(b'{') => walk.object(&plan.root, root, 1)?,
        _ => return Err(walk.scanner.other_than("an object")),
    }
    walk.scanner.end()?;
    match &plan.validator {
        None => Ok(()),
        Some(validator) => restrictions(validator, plan, bytes),
    }
}

/// A value's text, without Confluent's prefix.
fn bare(bytes: &[u8]) -> Fit<&[u8]> {
    // JSON cannot begin with a zero byte, so this is Confluent's wire format.
    let bytes = match bytes.first() {
        Some(0) => bytes.get(WIRE_PREFIX_BYTES..).unwrap_or_default(),
        _ => bytes,
    };
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let message = format!("the value is no UTF-8 at byte {}", error.valid_up_to());
            Err(Refused::new(RejectCode::Malformed, message))
        }
    }
}

/// Holds a record against everything that its schema says.
#[cold]
fn restrictions(validator: &jsonschema::Validator, plan: &Plan, bytes: &[u8]) -> Fit {
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|e| Refused::new(RejectCode::Malformed, format!("not JSON: {e}")))?;
    match plan.root.fields.as_slice() {
        [member] if plan.is_bare => drop_absent_within(&member.node, &mut value),
        _ => drop_absent(&plan.root, &mut value),
    }
    validator.validate(&value).map_err(|error| {
        let message: String = error.masked().to_string().chars().take(200).collect();
        let place = dialect::pointer(error.instance_path().as_str());
        mismatch(format!("at {place}: {message}"))
    })
}

/// Takes out the nulls that stand for absent members, which the schema itself knows nothing of.
fn drop_absent(plan: &Object, value: &mut Value) {
    let Some(members) = value.as_object_mut() else { return };
    for field in &plan.fields {
        let Some(member) = members.get_mut(&field.name) else { continue };
        if member.is_null() && !field.required && !field.node.nullable {
            members.shift_remove(&field.name);
        } else {
            drop_absent_within(&field.node, member);
        }
    }
}

fn drop_absent_within(node: &Node, value: &mut Value) {
    match (&node.kind, value) {
        (Kind::Struct(object), value) => drop_absent(object, value),
        (Kind::List(items, _), Value::Array(values)) => {
            values.iter_mut().for_each(|v| drop_absent_within(items, v));
        }
        (Kind::Map(values, _), Value::Object(members)) => {
            members.values_mut().for_each(|v| drop_absent_within(values, v));
        }
        _ => {}
    }
}

/// One record being read.
struct Walk<'a, 's> {
    scanner: Scanner<'a>,
    /// Room for strings that are written with escapes.
    unescaped: &'s mut Vec<u8>,
    budget: Budget,
}

impl<'a> Walk<'a, '_> {
    /// Reads an object, at its brace, as the next value of `column`.
    fn object(&mut self, plan: &Object, column: &mut StructColumn, depth: usize) -> Fit {
        let row = column.len();
        let mut last = None;
        let mut more = self.scanner.open(b'}', depth)?;
        let mut position = 0;
        while more {
            let member = self.member(plan, &mut column.habit, position, last)?;
            self.scanner.colon()?;
            if let Some(index) = member {
                let (field, child) = (&plan.fields[index], &mut column.children[index]);
                if child.len() > row {
                    child.truncate(row);
                }
                self.value(&field.node, child, field.takes_null(), depth)
                    .map_err(|refused| refused.within(|path| prepend(path, &field.name)))?;
                last = member;
            } else {
                self.scanner.skip(depth)?;
            }
            position += 1;
            more = self.scanner.more(b'}')?;
        }
        for (field, child) in plan.fields.iter().zip(&mut column.children) {
            if child.len() == row {
                if field.required {
                    return Err(mismatch("is missing".into()).within(|path| prepend(path, &field.name)));
                }
                child.push_null();
            }
        }
        column.nulls.append_non_null();
        Ok(())
    }

    /// Reads a member's name and finds it in the plan; none for one to be passed over.
    #[inline]
    fn member(
        &mut self,
        plan: &Object,
        habit: &mut Vec<Habit>,
        position: usize,
        last: Option<usize>,
    ) -> Result<Option<usize>, Box<Refused>> {
        let at = (position, last);
        match names::next(&mut self.scanner, &plan.fields, &plan.by_name, habit, at, self.unescaped)? {
            Name::Known(index) => Ok(Some(index)),
            Name::Unknown(name) if plan.closed => {
                let name = name.text(self.unescaped);
                let shown: String = String::from_utf8_lossy(name).chars().take(64).collect();
                Err(mismatch(format!("the schema allows no member `{shown}`")))
            }
            Name::Unknown(_) => Ok(None),
        }
    }

    /// Reads a value, at its first byte, as the next value of `column`.
    fn value(&mut self, node: &Node, column: &mut Column, takes_null: bool, depth: usize) -> Fit {
        if self.scanner.peek() == Some(b'n') && takes_null {
            self.scanner.literal(b"null")?;
            column.push_null();
            return Ok(());
        }
        match (&node.kind, column) {
            (Kind::Text(allowed), Column::Bytes { values, nulls }) => {
                self.text(values)?;
                let text = values.value(values.len() - 1);
                allowed.check(text).map_err(mismatch)?;
                nulls.append_non_null();
            }
            (Kind::Integer(allowed), Column::Long { values, nulls }) => {
                let value = self.integer()?;
                allowed.check(value).map_err(mismatch)?;
                values.push(value);
                nulls.append_non_null();
            }
            (Kind::Number(allowed), Column::Double { values, nulls }) => {
                let value = self.double()?;
                allowed.check(value).map_err(mismatch)?;
                values.push(value);
                nulls.append_non_null();
            }
            (Kind::Timestamp, Column::Long { values, nulls }) => {
                values.push(self.moment(
                    calendar::parse_timestamp,
                    "an RFC 3339 timestamp such as 2024-05-01T12:00:00.5Z",
                )?);
                nulls.append_non_null();
            }
            (Kind::Date, Column::Int { values, nulls }) => {
                values.push(self.moment(calendar::parse_date, "a date such as 2024-05-01")?);
                nulls.append_non_null();
            }
            (Kind::Time, Column::Long { values, nulls }) => {
                values.push(self.moment(calendar::parse_time, "a time such as 12:00:00.5Z")?);
                nulls.append_non_null();
            }
            (Kind::Boolean, Column::Boolean { values, nulls }) => {
                values.append(match self.scanner.peek() {
                    Some(b't') => self.scanner.literal(b"true").map(|()| true)?,
                    Some(b'f') => self.scanner.literal(b"false").map(|()| false)?,
                    _ => return Err(self.scanner.other_than("a boolean")),
                });
                nulls.append_non_null();
            }
            (Kind::Struct(object), Column::Struct(column)) => match self.scanner.peek() {
                Some(b'{') => self.object(object, column, depth + 1)?,
                _ => return Err(self.scanner.other_than("an object")),
            },
            (Kind::List(items, cells), Column::List(column)) => {
                self.list(items, *cells, column, depth + 1)?
            }
            (Kind::Map(values, cells), Column::Map(column)) => self.map(values, *cells, column, depth + 1)?,
            _ => return Err(mismatch("has a column of another type".into())),
        }
        Ok(())
    }

    #[inline]
    fn text(&mut self, texts: &mut BytesColumn) -> Fit {
        if self.scanner.peek() != Some(b'"') {
            return Err(self.scanner.other_than("a string"));
        }
        let string = self.scanner.string("a string")?;
        string.append_to(&mut texts.bytes);
        if texts.finish_value() { Ok(()) } else { Err(too_large("the batch holds too much text".into())) }
    }

    #[inline]
    fn integer(&mut self) -> Result<i64, Box<Refused>> {
        let start = self.scanner;
        match self.scanner.number() {
            None => Err(self.scanner.other_than("an integer")),
            Some(number) => number?.as_i64().map_err(|why| {
                let mut start = start;
                match why {
                    NoInteger::Fraction => start.other_than("an integer"),
                    NoInteger::OutOfRange => start.other_than("an integer of 64 bits"),
                }
            }),
        }
    }

    #[inline]
    fn double(&mut self) -> Result<f64, Box<Refused>> {
        let mut start = self.scanner;
        match self.scanner.number() {
            None => Err(self.scanner.other_than("a number")),
            Some(number) => {
                number?.as_f64().ok_or_else(|| start.other_than("a number that a double can hold"))
            }
        }
    }

    #[inline]
    fn moment<T>(&mut self, parse: fn(&[u8]) -> Option<T>, what: &str) -> Result<T, Box<Refused>> {
        let mut start = self.scanner;
        if self.scanner.peek() != Some(b'"') {
            return Err(self.scanner.other_than(what));
        }
        let string = self.scanner.string(what)?;
        parse(string.text(self.unescaped)).ok_or_else(|| start.other_than(what))
    }

    fn list(&mut self, items: &Node, cells: usize, column: &mut ListColumn, depth: usize) -> Fit {
        if self.scanner.peek() != Some(b'[') {
            return Err(self.scanner.other_than("an array"));
        }
        let mut more = self.scanner.open(b']', depth)?;
        let mut index = 0_usize;
        while more {
            self.scanner.space();
            self.budget.take(1, cells)?;
            self.value(items, &mut column.items, items.nullable, depth)
                .map_err(|refused| refused.within(|path| prepend_index(path, index)))?;
            index += 1;
            more = self.scanner.more(b']')?;
        }
        if column.finish_value() { Ok(()) } else { Err(too_large("the batch holds too many items".into())) }
    }

    fn map(&mut self, values: &Node, cells: usize, column: &mut MapColumn, depth: usize) -> Fit {
        if self.scanner.peek() != Some(b'{') {
            return Err(self.scanner.other_than("an object"));
        }
        let start = self.scanner;
        self.entries((values, cells), column, &[], depth)?;
        let doubled = column.doubled_keys();
        if !doubled.is_empty() {
            // Maps of maps with doubled keys are read again and again: the budget ends that.
            column.drop_open();
            self.scanner = start;
            self.entries((values, cells), column, &doubled, depth)?;
        }
        if column.finish_value() { Ok(()) } else { Err(too_large("the batch holds too many entries".into())) }
    }

    /// Reads a map's entries, but for those at the positions in `superseded` (ascending).
    fn entries(
        &mut self,
        (node, cells): (&Node, usize),
        column: &mut MapColumn,
        superseded: &[usize],
        depth: usize,
    ) -> Fit {
        let Column::Bytes { values: keys, nulls } = &mut column.keys else {
            return Err(mismatch("has a column of another type".into()));
        };
        let mut superseded = superseded.iter().copied().peekable();
        let mut more = self.scanner.open(b'}', depth)?;
        let mut position = 0;
        while more {
            self.scanner.space();
            let key = self.scanner.string("a member's name")?;
            self.scanner.colon()?;
            self.budget.take(1, cells)?;
            if superseded.next_if_eq(&position).is_some() {
                self.scanner.skip(depth)?;
            } else {
                key.append_to(&mut keys.bytes);
                if !keys.finish_value() {
                    return Err(too_large("the batch holds too much text".into()));
                }
                nulls.append_non_null();
                self.value(node, &mut column.values, node.nullable, depth).map_err(|refused| {
                    let name = key.text(self.unescaped);
                    let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
                    refused.within(|path| prepend(path, &name))
                })?;
            }
            position += 1;
            more = self.scanner.more(b'}')?;
        }
        Ok(())
    }
}

//! JSON records without a schema into columns.
//!
//! Owns: reading records along a shape.
//! Does not own: the shape (`shape`), how it grows (`grow`), when it does.
//! Invariants: every value of a record that fits its shape is in exactly one column: that of its member when it is of
//! the member's type, else as the JSON text it was written as; a record that is rejected leaves no trace.
//!
//! | JSON | column |
//! |---|---|
//! | `true`, `false` | Boolean |
//! | number without fraction and exponent, within 64 bits | Int64 |
//! | other numbers that a double can hold | Float64 |
//! | string | Utf8 |
//! | object, array | Struct, List |
//! | any of another type than the member's first value; arrays of unlike items; numbers beyond; what is nested too deep | Utf8 called `<member>_json` |
//! | members that can have no column: see `shape` | in the Utf8 called `_extra`, an object |
//! | null; an empty array or object of no known type | none: null |

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::names::{self, Known, Name};
use super::scanner::{JsonString, Scanner};
use super::{bare, prepend};
use crate::decode::Decoded;
use crate::decode::budget::Budget;
use crate::decode::column::{Column, ListColumn, StructColumn};
use crate::decode::refused::{Fit, too_large};

mod grow;
mod shape;

use shape::column_name;
pub use shape::{Era, INFERRED_COLUMNS_MAX, INFERRED_DEPTH_MAX, INFERRED_NAME_BYTES_MAX, Shape};
use shape::{Misfits, ObjectShape};

/// A compiled shape. Clones share it.
#[derive(Clone)]
pub struct Inferred(Arc<Plan>);

/// What became of some values.
#[derive(Debug, Clone)]
pub struct InferredRows {
    pub decoded: Decoded,
    /// Index of the first value that the shape has no place for: it is a row nevertheless, without what has no place.
    pub unfit: Option<usize>,
}

struct Plan {
    columns: SchemaRef,
    root: Object,
    /// Since when everything without a column has a place.
    full: Option<Era>,
}

/// The members of an object.
struct Object {
    members: Vec<Member>,
    by_name: HashMap<Box<[u8]>, usize>,
    /// What its columns are called, in lower case.
    taken: HashSet<String>,
    is_root: bool,
    extra: Option<Place>,
    /// Number of arrays that one object adds to, nested ones included.
    cells: usize,
}

struct Member {
    name: Box<str>,
    literal: Box<[u8]>,
    value: Option<(Place, Kind)>,
    /// Where misfits go.
    text: Option<Place>,
    /// Since when misfits go to the extra column.
    spills: Option<Era>,
}

/// A column of an object.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    since: Era,
}

enum Kind {
    Boolean,
    Long,
    Double,
    Text,
    Object(Object),
    /// The number of arrays that each item adds to.
    List(Box<Kind>, usize),
}

impl Known for Member {
    fn literal(&self) -> &[u8] {
        &self.literal
    }
}

impl std::fmt::Debug for Inferred {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inferred").field("columns", self.columns()).finish_non_exhaustive()
    }
}

impl Inferred {
    pub fn new(shape: &Shape) -> Self {
        let columns = Arc::new(Schema::new(shape.root.fields()));
        Self(Arc::new(Plan { columns, root: Object::new(&shape.root, true), full: shape.full }))
    }

    /// All optional.
    pub fn columns(&self) -> &SchemaRef {
        &self.0.columns
    }

    /// Decodes values as they were in an era; `None` is rejected. A value must be a JSON object; Confluent's prefix is
    /// passed over. When a member occurs twice the last one counts.
    pub fn decode(&self, era: Era, values: &[Option<&[u8]>]) -> InferredRows {
        let plan = &*self.0;
        let mut unescaped = Vec::new();
        let mut unfit = None;
        let decoded = crate::decode::rows(&plan.columns, values, |root, row, bytes| {
            let bytes = bare(bytes)?;
            let mut walk = Walk {
                scanner: Scanner::new(bytes),
                unescaped: &mut unescaped,
                budget: Budget::of(bytes.len()),
                era,
                is_full: plan.full.is_some_and(|since| since <= era),
                is_unfit: false,
            };
            walk.scanner.space();
            if walk.scanner.peek() != Some(b'{') {
                return Err(walk.scanner.other_than("an object"));
            }
            walk.object(&plan.root, root, 1)?;
            walk.scanner.end()?;
            if walk.is_unfit {
                unfit.get_or_insert(row);
            }
            Ok(())
        });
        InferredRows { decoded, unfit }
    }
}

impl Object {
    fn new(shape: &ObjectShape, is_root: bool) -> Self {
        let (mut index, mut cells) = (0, 1);
        let mut place = |since: Era, count: usize| {
            index += 1;
            cells += count;
            Place { index: index - 1, since }
        };
        let (mut members, mut by_name) = (Vec::with_capacity(shape.members.len()), HashMap::new());
        for member in &shape.members {
            let value = member.value.as_ref().map(|value| {
                let kind = Kind::new(&value.kind);
                (place(value.since, kind.cells()), kind)
            });
            let (text, spills) = match &member.misfits {
                Some(Misfits::Column { since, .. }) => (Some(place(*since, 1)), None),
                Some(Misfits::Extra { since }) => (None, Some(*since)),
                None => (None, None),
            };
            by_name.insert(member.name.as_bytes().into(), members.len());
            let literal = serde_json::Value::from(member.name.as_str()).to_string().into_bytes().into();
            members.push(Member { name: member.name.as_str().into(), literal, value, text, spills });
        }
        let extra = shape.extra.map(|since| place(since, 1));
        Self { members, by_name, taken: shape.taken().collect(), is_root, extra, cells }
    }
}

impl Kind {
    fn new(shape: &shape::Kind) -> Self {
        match shape {
            shape::Kind::Boolean => Self::Boolean,
            shape::Kind::Long => Self::Long,
            shape::Kind::Double => Self::Double,
            shape::Kind::Text => Self::Text,
            shape::Kind::Object(object) => Self::Object(Object::new(object, false)),
            shape::Kind::List(items) => {
                let items = Self::new(items);
                let cells = items.cells();
                Self::List(Box::new(items), cells)
            }
        }
    }

    fn cells(&self) -> usize {
        match self {
            Self::Object(object) => object.cells,
            Self::List(_, items) => items + 1,
            _ => 1,
        }
    }
}

/// One record being read.
struct Walk<'a, 's> {
    scanner: Scanner<'a>,
    unescaped: &'s mut Vec<u8>,
    budget: Budget,
    era: Era,
    is_full: bool,
    /// Something had no place.
    is_unfit: bool,
}

/// Values of an object that have no column.
#[derive(Default)]
struct Extras<'a> {
    /// Of members that have one for other types: index of the member. A member is here once.
    misfits: Vec<(usize, &'a [u8])>,
    unknown: Vec<(JsonString<'a>, &'a [u8])>,
}

impl<'a> Walk<'a, '_> {
    fn holds(&self, place: Option<Place>) -> Option<usize> {
        place.filter(|place| place.since <= self.era).map(|place| place.index)
    }

    /// Reads an object, at its brace, as the next value of `column`.
    fn object(&mut self, plan: &Object, column: &mut StructColumn, depth: usize) -> Fit {
        let row = column.len();
        let mut extras = Extras::default();
        let (mut position, mut last) = (0, None);
        let mut more = self.scanner.open(b'}', depth)?;
        while more {
            let at = (position, last);
            let (scanner, habit) = (&mut self.scanner, &mut column.habit);
            match names::next(scanner, &plan.members, &plan.by_name, habit, at, self.unescaped)? {
                Name::Known(index) => {
                    self.scanner.colon()?;
                    self.member(plan, index, column, row, &mut extras, depth)
                        .map_err(|refused| refused.within(|path| prepend(path, &plan.members[index].name)))?;
                    last = Some(index);
                }
                Name::Unknown(name) => {
                    self.scanner.colon()?;
                    self.unknown(plan, name, &mut extras, depth)?;
                }
            }
            position += 1;
            more = self.scanner.more(b'}')?;
        }
        if let Some(place) = plan.extra
            && !(extras.misfits.is_empty() && extras.unknown.is_empty())
        {
            write_extras(plan, &extras, &mut column.children[place.index])?;
        }
        for child in &mut column.children {
            if child.len() == row {
                child.push_null();
            }
        }
        column.nulls.append_non_null();
        Ok(())
    }

    fn member(
        &mut self,
        plan: &Object,
        index: usize,
        column: &mut StructColumn,
        row: usize,
        extras: &mut Extras<'a>,
        depth: usize,
    ) -> Fit {
        let member = &plan.members[index];
        let value = member.value.as_ref().filter(|(place, _)| place.since <= self.era);
        // It may have been there before in the same object: the last one counts.
        for place in value.map(|(place, _)| *place).into_iter().chain(member.text) {
            if column.children[place.index].len() > row {
                column.children[place.index].truncate(row);
            }
        }
        if !extras.misfits.is_empty() {
            self.budget.take(1, extras.misfits.len())?;
            extras.misfits.retain(|(misfit, _)| *misfit != index);
        }
        if self.scanner.peek() == Some(b'n') {
            return self.scanner.literal(b"null");
        }
        let start = self.scanner;
        if let Some((place, kind)) = value {
            let child = &mut column.children[place.index];
            if self.value(kind, child, depth)? {
                return Ok(());
            }
            child.truncate(row);
            self.scanner = start;
        }
        let raw = self.scanner.raw(depth)?;
        if is_nothing(raw) {
            return Ok(());
        }
        let spills = self.is_full || member.spills.is_some_and(|since| since <= self.era);
        if let Some(index) = self.holds(member.text) {
            return push_text(raw, &mut column.children[index]);
        }
        match self.holds(plan.extra) {
            Some(_) if spills => extras.misfits.push((index, raw)),
            _ => self.is_unfit = true,
        }
        Ok(())
    }

    /// Reads the value of a member that has no column.
    fn unknown(&mut self, plan: &Object, name: JsonString<'a>, extras: &mut Extras<'a>, depth: usize) -> Fit {
        let raw = self.scanner.raw(depth)?;
        // Whatever the name: it may have been free in an earlier era and be taken now.
        if is_nothing(raw) {
            return Ok(());
        }
        let can_have_column = !self.is_full && {
            let name = String::from_utf8_lossy(name.text(self.unescaped));
            let column = column_name(&name, plan.is_root);
            column.is_some_and(|column| !plan.taken.contains(&column.to_lowercase()))
        };
        match self.holds(plan.extra) {
            Some(_) if !can_have_column => extras.unknown.push((name, raw)),
            _ => self.is_unfit = true,
        }
        Ok(())
    }

    /// Reads a value, not null and at its first byte, if it is of the type. When it is not, column and place are left
    /// as they happen to be.
    fn value(&mut self, kind: &Kind, column: &mut Column, depth: usize) -> Fit<bool> {
        match (kind, column) {
            (Kind::Text, Column::Bytes { values, nulls }) => {
                if self.scanner.peek() != Some(b'"') {
                    return Ok(false);
                }
                self.scanner.string("a string")?.append_to(&mut values.bytes);
                if !values.finish_value() {
                    return Err(too_large("the batch holds too much text".into()));
                }
                nulls.append_non_null();
            }
            (Kind::Long, Column::Long { values, nulls }) => {
                let Some(number) = self.scanner.number() else { return Ok(false) };
                let Ok(value) = number?.as_i64() else { return Ok(false) };
                values.push(value);
                nulls.append_non_null();
            }
            (Kind::Double, Column::Double { values, nulls }) => {
                let Some(number) = self.scanner.number() else { return Ok(false) };
                let Some(value) = number?.as_exact_f64() else { return Ok(false) };
                values.push(value);
                nulls.append_non_null();
            }
            (Kind::Boolean, Column::Boolean { values, nulls }) => {
                let value = match self.scanner.peek() {
                    Some(b't') => self.scanner.literal(b"true").map(|()| true)?,
                    Some(b'f') => self.scanner.literal(b"false").map(|()| false)?,
                    _ => return Ok(false),
                };
                values.append(value);
                nulls.append_non_null();
            }
            (Kind::Object(object), Column::Struct(column)) => {
                if self.scanner.peek() != Some(b'{') {
                    return Ok(false);
                }
                self.object(object, column, depth + 1)?;
            }
            (Kind::List(items, cells), Column::List(column)) => {
                return self.list(items, *cells, column, depth + 1);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn list(&mut self, items: &Kind, cells: usize, column: &mut ListColumn, depth: usize) -> Fit<bool> {
        if self.scanner.peek() != Some(b'[') {
            return Ok(false);
        }
        let mut more = self.scanner.open(b']', depth)?;
        while more {
            self.scanner.space();
            self.budget.take(1, cells)?;
            let (start, len) = (self.scanner, column.items.len());
            if self.scanner.peek() == Some(b'n') {
                self.scanner.literal(b"null")?;
                column.items.push_null();
            } else if !self.value(items, &mut column.items, depth)? {
                column.items.truncate(len);
                self.scanner = start;
                if !is_nothing(self.scanner.raw(depth)?) {
                    return Ok(false);
                }
                column.items.push_null();
            }
            more = self.scanner.more(b']')?;
        }
        if column.finish_value() { Ok(true) } else { Err(too_large("the batch holds too many items".into())) }
    }
}

/// Whether a value, which is JSON, holds nothing but nulls.
fn is_nothing(raw: &[u8]) -> bool {
    fn passed(scanner: &mut Scanner<'_>, depth: usize) -> Fit<bool> {
        let close = match scanner.peek() {
            Some(b'n') => return scanner.literal(b"null").map(|()| true),
            Some(b'{') => b'}',
            Some(b'[') => b']',
            _ => return Ok(false),
        };
        let mut more = scanner.open(close, depth)?;
        while more {
            scanner.space();
            if close == b'}' {
                scanner.string("a member's name")?;
                scanner.colon()?;
            }
            if !passed(scanner, depth + 1)? {
                return Ok(false);
            }
            more = scanner.more(close)?;
        }
        Ok(true)
    }
    passed(&mut Scanner::new(raw), 1).unwrap_or(false)
}

/// Appends JSON text.
fn push_text(raw: &[u8], column: &mut Column) -> Fit {
    let Column::Bytes { values, nulls } = column else { return Ok(()) };
    values.bytes.extend_from_slice(raw);
    finish_text(values, nulls)
}

fn finish_text(
    values: &mut crate::decode::column::BytesColumn,
    nulls: &mut arrow::array::NullBufferBuilder,
) -> Fit {
    if !values.finish_value() {
        return Err(too_large("the batch holds too much text".into()));
    }
    nulls.append_non_null();
    Ok(())
}

/// Appends an object of what has no column: of each name the last value.
fn write_extras(plan: &Object, extras: &Extras<'_>, column: &mut Column) -> Fit {
    let Column::Bytes { values, nulls } = column else { return Ok(()) };
    let mut last: HashMap<&[u8], usize> = HashMap::new();
    for (at, (name, _)) in extras.unknown.iter().enumerate() {
        last.insert(name.quoted(), at);
    }
    let unknown = extras.unknown.iter().enumerate();
    let unknown = unknown.filter(|(at, (name, _))| last.get(name.quoted()) == Some(at));
    let unknown = unknown.map(|(_, (name, raw))| (name.quoted(), *raw));
    let misfits = extras.misfits.iter().map(|(index, raw)| (&*plan.members[*index].literal, *raw));
    for (at, (name, raw)) in misfits.chain(unknown).enumerate() {
        values.bytes.push(if at == 0 { b'{' } else { b',' });
        values.bytes.extend_from_slice(name);
        values.bytes.push(b':');
        values.bytes.extend_from_slice(raw);
    }
    values.bytes.push(b'}');
    finish_text(values, nulls)
}

#[cfg(test)]
mod tests;

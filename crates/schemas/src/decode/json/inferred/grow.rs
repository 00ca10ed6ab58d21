//! How a shape grows.
//!
//! Owns: which columns the values of a record ask for.
//! Does not own: reading values into columns (`super`).
//! Invariants: a record has a place for each of its values in the shape that has grown by it; nothing that was in the
//! shape in an earlier era changes; values that are empty ask for nothing.

use super::super::scanner::{JsonString, Scanner};
use super::shape::{
    Era, INFERRED_COLUMNS_MAX, INFERRED_DEPTH_MAX, Kind, MemberShape, Misfits, ObjectShape, Shape, ValueShape,
};
use super::{bare, is_nothing};
use crate::decode::refused::Fit;

impl Shape {
    /// Makes room for a record: a JSON object, with or without Confluent's prefix. What is no object is left out, for it
    /// is no row. `era` is the one that begins with this growth: what was added in it may still widen from long to
    /// double, since nothing was read with it.
    pub fn grow(&mut self, era: Era, record: &[u8]) {
        let Ok(bytes) = bare(record) else { return };
        let mut scanner = Scanner::new(bytes);
        scanner.space();
        let start = scanner;
        if scanner.peek() != Some(b'{') || scanner.skip(0).and_then(|()| scanner.end()).is_err() {
            return;
        }
        let mut growth = Growth {
            scanner: start,
            era,
            columns: self.count(),
            is_full: self.full.is_some(),
            unescaped: Vec::new(),
        };
        // That it is JSON has been seen.
        let grown = growth.object(&mut self.root, 1);
        let is_full = growth.is_full;
        if grown.is_ok() && is_full && self.full.is_none() {
            self.close(era);
        }
    }
}

/// One record that a shape grows by.
struct Growth<'a> {
    scanner: Scanner<'a>,
    era: Era,
    /// Columns of the shape.
    columns: usize,
    /// What has no column goes to the extra column.
    is_full: bool,
    unescaped: Vec<u8>,
}

/// What a value without a column asks for.
enum Wanted {
    Nothing,
    Column(Kind),
    /// It is of no type that a column can have.
    Text,
}

impl<'a> Growth<'a> {
    fn object(&mut self, shape: &mut ObjectShape, depth: usize) -> Fit {
        let mut more = self.scanner.open(b'}', depth)?;
        let mut next = 0;
        while more {
            self.scanner.space();
            let name = self.scanner.string("a member's name")?;
            self.scanner.colon()?;
            match self.find(shape, &name, next) {
                Some(at) => {
                    self.known(shape, at, depth)?;
                    next = at + 1;
                }
                None => self.unknown(shape, &name, depth)?,
            }
            more = self.scanner.more(b'}')?;
        }
        Ok(())
    }

    /// The member of that name: mostly the one after the member before.
    fn find(&mut self, shape: &ObjectShape, name: &JsonString<'a>, next: usize) -> Option<usize> {
        let name = name.text(&mut self.unescaped);
        let is_named = |member: &MemberShape| member.name.as_bytes() == name;
        match shape.members.get(next) {
            Some(member) if is_named(member) => Some(next),
            _ => shape.members.iter().position(is_named),
        }
    }

    /// A value of a member that has a column.
    fn known(&mut self, shape: &mut ObjectShape, at: usize, depth: usize) -> Fit {
        if self.scanner.peek() == Some(b'n') {
            return self.scanner.literal(b"null");
        }
        let start = self.scanner;
        let member = &mut shape.members[at];
        let fits = match &mut member.value {
            Some(value) => self.fits(&mut value.kind, value.since == self.era, depth)?,
            // Its first value was of no type: its column is the one of text.
            None if member.misfits.is_some() => false,
            None => match self.wanted(depth)? {
                Wanted::Nothing => true,
                Wanted::Column(kind) => self.take_column(&kind).is_some_and(|since| {
                    member.value = Some(ValueShape { kind, since });
                    true
                }),
                Wanted::Text => false,
            },
        };
        if !fits {
            self.scanner = start;
            if !is_nothing(self.scanner.raw(depth)?) {
                self.misfit(shape, at, depth);
            }
        }
        Ok(())
    }

    /// A member that has no column.
    fn unknown(&mut self, shape: &mut ObjectShape, name: &JsonString<'a>, depth: usize) -> Fit {
        if self.is_full {
            return self.scanner.skip(depth);
        }
        let name = String::from_utf8_lossy(name.text(&mut self.unescaped)).into_owned();
        let Some(column) = shape.free_column(&name, depth == 1) else {
            if !is_nothing(self.scanner.raw(depth)?) {
                shape.extra.get_or_insert(self.era);
            }
            return Ok(());
        };
        shape.members.push(MemberShape { name, column, value: None, misfits: None });
        let at = shape.members.len() - 1;
        self.known(shape, at, depth)?;
        if shape.members.last().is_some_and(|member| member.value.is_none() && member.misfits.is_none()) {
            shape.members.pop();
        }
        Ok(())
    }

    /// A value that is not of its member's type.
    fn misfit(&mut self, shape: &mut ObjectShape, at: usize, depth: usize) {
        if self.is_full || shape.members[at].misfits.is_some() {
            return;
        }
        let since = self.era;
        let misfits = match shape.free_text_column(&shape.members[at].column, depth == 1) {
            Some(name) => match self.take_column(&Kind::Text) {
                Some(since) => Misfits::Column { name, since },
                None => return,
            },
            None => {
                shape.extra.get_or_insert(since);
                Misfits::Extra { since }
            }
        };
        shape.members[at].misfits = Some(misfits);
    }

    /// Takes one column more; none when there are too many. What is nested has taken its own.
    fn take_column(&mut self, kind: &Kind) -> Option<Era> {
        let nested = matches!(kind, Kind::Object(_) | Kind::List(_));
        if self.columns >= INFERRED_COLUMNS_MAX && !nested {
            self.is_full = true;
            return None;
        }
        self.columns += 1;
        Some(self.era)
    }

    /// What a value, not null and at its first byte, asks for.
    fn wanted(&mut self, depth: usize) -> Fit<Wanted> {
        let nests = depth < INFERRED_DEPTH_MAX;
        match self.scanner.peek() {
            Some(b'"') => self.scanner.skip(depth).map(|()| Wanted::Column(Kind::Text)),
            Some(b't' | b'f') => self.scanner.skip(depth).map(|()| Wanted::Column(Kind::Boolean)),
            Some(b'{') if nests => {
                let mut object = ObjectShape::default();
                self.object(&mut object, depth + 1)?;
                Ok(match object.is_empty() {
                    true => Wanted::Nothing,
                    false => Wanted::Column(Kind::Object(object)),
                })
            }
            Some(b'[') if nests => self.wanted_list(depth + 1),
            Some(b'{' | b'[') => Ok(match is_nothing(self.scanner.raw(depth)?) {
                true => Wanted::Nothing,
                false => Wanted::Text,
            }),
            _ => match self.scanner.number() {
                None => Err(self.scanner.malformed("a value")),
                Some(number) => {
                    let number = number?;
                    Ok(if number.is_whole() {
                        number.as_i64().map_or(Wanted::Text, |_| Wanted::Column(Kind::Long))
                    } else {
                        number.as_f64().map_or(Wanted::Text, |_| Wanted::Column(Kind::Double))
                    })
                }
            },
        }
    }

    fn wanted_list(&mut self, depth: usize) -> Fit<Wanted> {
        let (start, before) = (self.scanner, self.columns);
        let mut items: Option<Kind> = None;
        let mut more = self.scanner.open(b']', depth)?;
        while more {
            self.scanner.space();
            let fits = match &mut items {
                _ if self.scanner.peek() == Some(b'n') => self.scanner.literal(b"null").map(|()| true)?,
                Some(items) => self.item_fits(items, true, depth)?,
                None => match self.wanted(depth)? {
                    Wanted::Nothing => true,
                    Wanted::Text => false,
                    Wanted::Column(kind) => self.take_column(&kind).is_some_and(|_| {
                        items = Some(kind);
                        true
                    }),
                },
            };
            if !fits {
                // Nothing of it becomes a column.
                self.columns = before;
                self.scanner = start;
                self.scanner.skip(depth - 1)?;
                return Ok(Wanted::Text);
            }
            more = self.scanner.more(b']')?;
        }
        Ok(items.map_or(Wanted::Nothing, |items| Wanted::Column(Kind::List(Box::new(items)))))
    }

    fn item_fits(&mut self, items: &mut Kind, is_new: bool, depth: usize) -> Fit<bool> {
        let start = self.scanner;
        if self.fits(items, is_new, depth)? {
            return Ok(true);
        }
        self.scanner = start;
        Ok(is_nothing(self.scanner.raw(depth)?))
    }

    /// Whether a value, not null and at its first byte, is of a type; the type grows within. When it is not, the place
    /// after it is not known.
    fn fits(&mut self, kind: &mut Kind, is_new: bool, depth: usize) -> Fit<bool> {
        match (&mut *kind, self.scanner.peek()) {
            (Kind::Boolean, Some(b't' | b'f')) | (Kind::Text, Some(b'"')) => {
                self.scanner.skip(depth).map(|()| true)
            }
            (Kind::Long | Kind::Double, Some(b'-' | b'0'..=b'9')) => {
                let Some(number) = self.scanner.number() else { return Ok(false) };
                let number = number?;
                if *kind == Kind::Double {
                    return Ok(number.as_exact_f64().is_some());
                }
                let widens = is_new && !number.is_whole() && number.as_f64().is_some();
                if number.as_i64().is_err() && widens {
                    *kind = Kind::Double;
                }
                Ok(number.as_i64().is_ok() || widens)
            }
            (Kind::Object(object), Some(b'{')) => self.object(object, depth + 1).map(|()| true),
            (Kind::List(items), Some(b'[')) => {
                let mut more = self.scanner.open(b']', depth + 1)?;
                while more {
                    self.scanner.space();
                    if self.scanner.peek() == Some(b'n') {
                        self.scanner.literal(b"null")?;
                    } else if !self.item_fits(items, is_new, depth + 1)? {
                        return Ok(false);
                    }
                    more = self.scanner.more(b']')?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

//! The names of an object's members.
//!
//! Owns: finding a member by its name: first by the object before, then by the order of the plan, then by the name.
//! Does not own: the members.
//! Invariants: what is remembered makes the next object faster, never different.

use std::collections::HashMap;

use super::scanner::{JsonString, Scanner};
use crate::decode::column::Habit;
use crate::decode::refused::Fit;

/// Members of one object whose order is remembered.
const HABITS_MAX: usize = 4096;
/// Longest name that is remembered.
const HABIT_BYTES_MAX: usize = 256;

/// A member whose name is known.
pub(in crate::decode) trait Known {
    /// The name as it is usually written in JSON, with its quotes.
    fn literal(&self) -> &[u8];
}

/// What a name stands for.
pub(super) enum Name<'a> {
    /// Index of the member.
    Known(usize),
    Unknown(JsonString<'a>),
}

/// Reads the name of the member at `position`, after the one that is `last`.
#[inline]
pub(super) fn next<'a, M: Known>(
    scanner: &mut Scanner<'a>,
    members: &[M],
    by_name: &HashMap<Box<[u8]>, usize>,
    habit: &mut Vec<Habit>,
    (position, last): (usize, Option<usize>),
    unescaped: &mut Vec<u8>,
) -> Fit<Name<'a>> {
    scanner.space();
    if let Some(expected) = habit.get(position)
        && let Some(name) = scanner.take_string(&expected.literal)
    {
        return Ok(expected.member.map_or(Name::Unknown(name), Name::Known));
    }
    // Members that are sometimes left out: the next ones in the plan's order are the best guess.
    let next = last.map_or(0, |index| index + 1);
    for (index, member) in members.iter().enumerate().skip(next).take(2) {
        if scanner.take(member.literal()) {
            learn(habit, position, member.literal(), Some(index));
            return Ok(Name::Known(index));
        }
    }
    let name = scanner.string("a member's name")?;
    let found = by_name.get(name.text(unescaped)).copied();
    if let Some(literal) = name.literal() {
        learn(habit, position, literal, found);
    }
    Ok(found.map_or(Name::Unknown(name), Name::Known))
}

/// Remembers which member was at a position.
#[cold]
fn learn(habit: &mut Vec<Habit>, position: usize, literal: &[u8], member: Option<usize>) {
    if position > habit.len() || position >= HABITS_MAX || literal.len() > HABIT_BYTES_MAX {
        return;
    }
    let learnt = Habit { literal: literal.into(), member };
    match habit.get_mut(position) {
        Some(known) => *known = learnt,
        None => habit.push(learnt),
    }
}

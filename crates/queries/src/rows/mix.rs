//! Records of several schemas as one run of rows.
//!
//! Owns: decoding each record with its own schema, putting the rows together in their order.
//! Does not own: which schema a record has (`part`), turning values to the columns of all schemas (`widen`).
//! Invariants: every record is a row, has nothing there, or is a misfit.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;
use base::SchemaId;
use schemas::{Decoder, RejectCode};

use super::part::{Fitted, Known, Misfit};
use super::union::{Places, Target};
use super::{RecordSchema, widen};
use crate::mode::Side;

/// Records of several schemas on their way to columns.
pub(super) struct Mix<'p> {
    side: Side,
    targets: &'p [Target],
    groups: BTreeMap<RecordSchema, Group<'p>>,
    absent: Vec<usize>,
    pub(super) misfits: Vec<Misfit>,
}

#[derive(Default)]
struct Group<'p> {
    rows: Vec<usize>,
    payloads: Vec<Option<&'p [u8]>>,
}

/// Rows of one schema, in the columns of all.
struct Piece {
    columns: Vec<ArrayRef>,
    /// Rows of the chunk, ascending.
    rows: Vec<usize>,
    absent: bool,
}

impl<'p> Mix<'p> {
    pub(super) fn new(side: Side, targets: &'p [Target]) -> Self {
        Self { side, targets, groups: BTreeMap::new(), absent: Vec::new(), misfits: Vec::new() }
    }

    pub(super) fn push<'r: 'p>(&mut self, schema: &RecordSchema, row: usize, payload: Option<&'r [u8]>) {
        if payload.is_none() {
            return self.absent(row, Some(schema.id));
        }
        if !self.groups.contains_key(schema) {
            self.groups.insert(schema.clone(), Group::default());
        }
        if let Some(group) = self.groups.get_mut(schema) {
            group.rows.push(row);
            group.payloads.push(payload);
        }
    }

    /// A record without that side: a key may be missing, a value may not.
    pub(super) fn absent(&mut self, row: usize, schema_id: Option<SchemaId>) {
        match self.side {
            Side::Key => self.absent.push(row),
            Side::Value => self.misfits.push(Misfit {
                row,
                code: RejectCode::NullValue.as_str(),
                message: "the record has no value, and its columns come from one".to_owned(),
                schema_id,
            }),
        }
    }

    pub(super) fn finish<'k>(mut self, find: impl Fn(&RecordSchema) -> Option<&'k Known>) -> Fitted {
        let mut pieces = Vec::with_capacity(self.groups.len() + 1);
        for (schema, group) in std::mem::take(&mut self.groups) {
            let id = schema.id;
            match find(&schema) {
                Some(Known::Decodable { decoder, places }) => {
                    pieces.push(self.decode(id, &group, decoder, places))
                }
                Some(Known::Unusable(reason)) => {
                    self.refuse(
                        id,
                        &group.rows,
                        "unsupported_schema",
                        &format!("no columns can be made of it: {reason}"),
                    );
                }
                None => {
                    let message = format!("schema {id} is not in the registry");
                    self.refuse(id, &group.rows, "unknown_schema_id", &message);
                }
            }
        }
        if !self.absent.is_empty() {
            let nulls = |t: &Target| new_null_array(t.field.data_type(), self.absent.len());
            let columns = self.targets.iter().map(nulls).collect();
            pieces.push(Piece { columns, rows: std::mem::take(&mut self.absent), absent: true });
        }
        self.misfits.sort_by_key(|misfit| misfit.row);
        let mut fitted = in_order(pieces, self.targets);
        fitted.misfits = self.misfits;
        fitted
    }

    fn refuse(&mut self, id: SchemaId, rows: &[usize], code: &'static str, message: &str) {
        let misfit =
            |row: &usize| Misfit { row: *row, code, message: message.to_owned(), schema_id: Some(id) };
        self.misfits.extend(rows.iter().map(misfit));
    }

    fn decode(&mut self, id: SchemaId, group: &Group<'_>, decoder: &Decoder, places: &Places) -> Piece {
        let decoded = decoder.decode(&group.payloads);
        let side = match self.side {
            Side::Key => "key: ",
            Side::Value => "",
        };
        let rejected = decoded.rejected.into_iter().map(|r| (r.row, r.code.as_str(), r.message));
        let mut misfits: Vec<(usize, &'static str, String)> = rejected.collect();
        let columns = self.widen(&decoded.batch, places, &mut misfits);
        let wrong: Vec<usize> = misfits.iter().map(|(row, ..)| *row).collect();
        self.misfits.extend(misfits.into_iter().map(|(row, code, message)| Misfit {
            row: group.rows[row],
            code,
            message: format!("{side}{message}"),
            schema_id: Some(id),
        }));
        let fits = |(row, _): &(usize, &usize)| wrong.binary_search(row).is_err();
        let rows = group.rows.iter().enumerate().filter(fits).map(|(_, row)| *row).collect();
        Piece { columns, rows, absent: false }
    }

    /// Turns decoded rows to the columns of all schemas. Rows that do not fit join the misfits, sorted.
    fn widen(
        &self,
        batch: &RecordBatch,
        places: &Places,
        misfits: &mut Vec<(usize, &'static str, String)>,
    ) -> Vec<ArrayRef> {
        let widened = widen::columns(batch, self.targets, places);
        if !widened.misfits.is_empty() {
            // Rows of the batch are the values that were not rejected: count them off to find a row's value.
            let mut kept = Kept::new(misfits.iter().map(|(row, ..)| *row).collect());
            let code = RejectCode::SchemaMismatch.as_str();
            let found: Vec<_> =
                widened.misfits.into_iter().map(|(row, message)| (kept.value(row), code, message)).collect();
            misfits.extend(found);
            misfits.sort_by_key(|(row, ..)| *row);
        }
        widened.columns
    }
}

/// The rows of all pieces in the chunk's order.
fn in_order(mut pieces: Vec<Piece>, targets: &[Target]) -> Fitted {
    if pieces.len() == 1 {
        let Piece { columns, rows, absent } = pieces.remove(0);
        let absent = vec![absent; rows.len()];
        return Fitted { columns, rows, absent, ..Fitted::default() };
    }
    let mut order: Vec<(usize, usize, usize)> = Vec::new();
    for (piece, part) in pieces.iter().enumerate() {
        order.extend(part.rows.iter().enumerate().map(|(at, row)| (*row, piece, at)));
    }
    order.sort_unstable();
    let places: Vec<(usize, usize)> = order.iter().map(|(_, piece, at)| (*piece, *at)).collect();
    let column = |(index, target): (usize, &Target)| {
        if places.is_empty() {
            return new_null_array(target.field.data_type(), 0);
        }
        let arrays: Vec<&dyn Array> = pieces.iter().map(|piece| piece.columns[index].as_ref()).collect();
        interleave(&arrays, &places).expect("all pieces have the targets' types")
    };
    Fitted {
        columns: targets.iter().enumerate().map(column).collect(),
        rows: order.iter().map(|(row, ..)| *row).collect(),
        absent: order.iter().map(|(_, piece, _)| pieces[*piece].absent).collect(),
        ..Fitted::default()
    }
}

/// From rows that were kept to the values they came from. Asked in ascending order.
struct Kept {
    gaps: Vec<usize>,
    passed: usize,
}

impl Kept {
    fn new(gaps: Vec<usize>) -> Self {
        Self { gaps, passed: 0 }
    }

    fn value(&mut self, kept: usize) -> usize {
        while self.gaps.get(self.passed).is_some_and(|gap| *gap <= kept + self.passed) {
            self.passed += 1;
        }
        kept + self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rows_are_found_again_among_gaps() {
        let mut kept = Kept::new(vec![0, 1, 4]);
        assert_eq!([0, 1, 2, 3].map(|row| kept.value(row)), [2, 3, 5, 6]);
    }
}

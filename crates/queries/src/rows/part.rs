//! A record's key or value as columns.
//!
//! Owns: which schema a record has (by its offset, or by the id it bears), decoding with it, putting rows of several
//! schemas together in their order.
//! Does not own: the columns of all schemas (`union`), turning values to them (`widen`), the format of a payload
//! (schemas).
//! Invariants: what becomes of a record depends on the record and on the stored switches alone; every record is a row
//! or a misfit.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields};
use base::{Offset, PartitionId, SchemaId};
use schemas::{Decoder, RejectCode};
use topics::batch::RecordView;

use super::framing::{Framed, framed};
use super::union::{Places, Target, Union};
use super::{RecordSchema, SchemaSwitch, widen};
use crate::mode::Side;

/// How one side of records becomes columns.
#[derive(Debug)]
pub(super) struct Part {
    side: Side,
    source: Source,
    /// The columns of all schemas; of `Bytes` and `Text` the one column.
    pub(super) targets: Vec<Target>,
    /// Why fields of some schemas, or whole schemas, do not fit: for people.
    pub(super) differences: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Bytes,
    Text,
    /// A schema holds from its switch on; in the order of switches, never empty.
    Eras(Vec<(SchemaSwitch, Known)>),
    /// The schemas that records may name, in the order in which they were met.
    Named(Vec<(RecordSchema, Known)>, schemas::Registry),
}

/// A schema that records have.
#[derive(Debug)]
enum Known {
    Decodable {
        decoder: Decoder,
        places: Places,
    },
    /// It cannot become columns.
    Unusable(String),
}

/// A record that does not fit the table: row within its chunk, and why.
#[derive(Debug, Clone)]
pub(super) struct Misfit {
    pub(super) row: usize,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) schema_id: Option<SchemaId>,
}

/// One side of a chunk as columns: the rows that fit, and the others.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    /// In the order of the targets.
    pub(super) columns: Vec<ArrayRef>,
    /// The chunk's rows that are rows, ascending.
    pub(super) rows: Vec<usize>,
    /// Which of `rows` have nothing there (keys only).
    pub(super) absent: Vec<bool>,
    /// Ascending.
    pub(super) misfits: Vec<Misfit>,
}

/// A schema that can be compiled, or why it cannot.
pub(super) type Compiled = Result<Decoder, String>;

impl Part {
    pub(super) fn bytes(side: Side) -> Self {
        Self::plain(side, Source::Bytes, DataType::Binary)
    }

    pub(super) fn text(side: Side) -> Self {
        Self::plain(side, Source::Text, DataType::Utf8)
    }

    fn plain(side: Side, source: Source, data_type: DataType) -> Self {
        let mut union = Union::default();
        union.add(&Fields::from(vec![Field::new(side.as_str(), data_type, true)]));
        Self { side, source, targets: union.targets(), differences: Vec::new() }
    }

    /// Schemas by the offsets from which they hold. The error says why not one of them can become columns.
    pub(super) fn eras(side: Side, eras: Vec<(SchemaSwitch, Compiled)>) -> Result<Self, String> {
        let ids = eras.iter().map(|(switch, _)| switch.schema_id).collect();
        let (switches, compiled): (Vec<_>, Vec<_>) = eras.into_iter().unzip();
        let (known, targets, differences) = known(ids, compiled)?;
        let source = Source::Eras(switches.into_iter().zip(known).collect());
        Ok(Self { side, source, targets, differences })
    }

    /// Schemas by what records say of them. The error says why not one of them can become columns.
    pub(super) fn named(
        side: Side,
        named: Vec<(RecordSchema, Compiled)>,
        registry: schemas::Registry,
    ) -> Result<Self, String> {
        let (named, compiled): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let (known, targets, differences) = known(named.iter().map(|n| n.id).collect(), compiled)?;
        let source = Source::Named(named.into_iter().zip(known).collect(), registry);
        Ok(Self { side, source, targets, differences })
    }

    /// Whether it has fields, rather than one column.
    pub(super) fn has_fields(&self) -> bool {
        matches!(self.source, Source::Eras(_) | Source::Named(..))
    }

    /// Whether each record names its schema.
    pub(super) fn is_named(&self) -> bool {
        matches!(self.source, Source::Named(..))
    }

    pub(super) fn fields(&self) -> Fields {
        self.targets.iter().map(|target| target.field.clone()).collect()
    }

    /// First offset above `offset` at which another schema may hold; none when the same one holds to the end.
    pub(super) fn next_switch(&self, partition: PartitionId, offset: Offset) -> Option<Offset> {
        match &self.source {
            Source::Eras(eras) => eras.iter().map(|(s, _)| s.start(partition)).filter(|s| *s > offset).min(),
            _ => None,
        }
    }

    /// A schema that exists, that the record names and that is not among the stored ones.
    pub(super) fn unseen(&self, record: &RecordView<'_>) -> Option<RecordSchema> {
        let Source::Named(known, registry) = &self.source else { return None };
        let Ok(Framed { schema, .. }) = framed(self.side, record, registry)? else { return None };
        let unseen = known.iter().all(|(known, _)| *known != schema) && registry.by_id(schema.id).is_ok();
        unseen.then_some(schema)
    }

    /// Turns one side of the records, which lie between two switches, to columns.
    pub(super) fn fit(&self, partition: PartitionId, records: &[RecordView<'_>]) -> Fitted {
        match &self.source {
            Source::Bytes => {
                let mut bytes = BinaryBuilder::new();
                records.iter().for_each(|record| bytes.append_option(self.payload(record)));
                whole(Arc::new(bytes.finish()))
            }
            Source::Text => self.text_of(records),
            Source::Eras(eras) => {
                let offset = records.first().map_or(0, |record| record.offset);
                // The first switch holds from 0 on, so the fallback is for a stored value that says otherwise.
                let held = eras.iter().rev().find(|(switch, _)| switch.start(partition) <= offset);
                let (switch, known) = held.unwrap_or(&eras[0]);
                let mut mix = Mix::new(self.side, &self.targets);
                let schema = RecordSchema { id: switch.schema_id, indexes: Vec::new() };
                for (row, record) in records.iter().enumerate() {
                    mix.push(&schema, row, self.payload(record));
                }
                mix.finish(|_| Some(known))
            }
            Source::Named(named, registry) => {
                let mut mix = Mix::new(self.side, &self.targets);
                for (row, record) in records.iter().enumerate() {
                    match framed(self.side, record, registry) {
                        None => mix.absent(row, None),
                        Some(Ok(framed)) => mix.push(&framed.schema, row, Some(framed.payload)),
                        Some(Err(why)) => mix.misfits.push(Misfit {
                            row,
                            code: why.code,
                            message: why.message,
                            schema_id: None,
                        }),
                    }
                }
                mix.finish(|schema| named.iter().find(|(known, _)| known == schema).map(|(_, known)| known))
            }
        }
    }

    fn payload<'r>(&self, record: &RecordView<'r>) -> Option<&'r [u8]> {
        match self.side {
            Side::Key => record.key,
            Side::Value => record.value,
        }
    }

    fn text_of(&self, records: &[RecordView<'_>]) -> Fitted {
        let mut fitted = Fitted::default();
        let mut text = StringBuilder::new();
        for (row, record) in records.iter().enumerate() {
            match self.payload(record).map(std::str::from_utf8).transpose() {
                Ok(value) => {
                    text.append_option(value);
                    fitted.rows.push(row);
                    fitted.absent.push(false);
                }
                Err(error) => fitted.misfits.push(Misfit {
                    row,
                    code: RejectCode::Malformed.as_str(),
                    message: format!("the {} is no UTF-8 text: {error}", self.side.as_str()),
                    schema_id: None,
                }),
            }
        }
        fitted.columns = vec![Arc::new(text.finish())];
        fitted
    }
}

impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.side.hash(state);
        self.fields().hash(state);
        std::mem::discriminant(&self.source).hash(state);
        match &self.source {
            Source::Bytes | Source::Text => {}
            Source::Eras(eras) => eras.iter().for_each(|(switch, _)| switch.hash(state)),
            Source::Named(named, _) => named.iter().for_each(|(schema, _)| schema.hash(state)),
        }
    }
}

impl SchemaSwitch {
    fn start(&self, partition: PartitionId) -> Offset {
        self.starts.get(&partition).copied().unwrap_or(0)
    }
}

/// A column in which every record is a row.
fn whole(column: ArrayRef) -> Fitted {
    let rows = column.len();
    Fitted {
        columns: vec![column],
        rows: (0..rows).collect(),
        absent: vec![false; rows],
        misfits: Vec::new(),
    }
}

/// Puts schemas together. The error, when there are schemas and none can be used, is the newest one's.
fn known(
    ids: Vec<SchemaId>,
    compiled: Vec<Compiled>,
) -> Result<(Vec<Known>, Vec<Target>, Vec<String>), String> {
    let mut union = Union::default();
    let (mut all, mut differences) = (Vec::with_capacity(ids.len()), Vec::new());
    let (mut usable, mut last_error) = (false, None);
    for (id, compiled) in ids.into_iter().zip(compiled) {
        all.push(match compiled {
            Ok(decoder) => {
                let added = union.add(decoder.columns().fields());
                differences.extend(added.differences.iter().map(|d| format!("schema {id}: {d}")));
                usable = true;
                Known::Decodable { decoder, places: added.places }
            }
            Err(reason) => {
                differences.push(reason.clone());
                last_error = Some(reason.clone());
                Known::Unusable(reason)
            }
        });
    }
    match last_error {
        Some(reason) if !usable => Err(reason),
        _ => Ok((all, union.targets(), differences)),
    }
}

/// Records of several schemas on their way to columns.
struct Mix<'p> {
    side: Side,
    targets: &'p [Target],
    groups: BTreeMap<RecordSchema, Group<'p>>,
    absent: Vec<usize>,
    misfits: Vec<Misfit>,
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
    fn new(side: Side, targets: &'p [Target]) -> Self {
        Self { side, targets, groups: BTreeMap::new(), absent: Vec::new(), misfits: Vec::new() }
    }

    fn push<'r: 'p>(&mut self, schema: &RecordSchema, row: usize, payload: Option<&'r [u8]>) {
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
    fn absent(&mut self, row: usize, schema_id: Option<SchemaId>) {
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

    fn finish<'k>(mut self, find: impl Fn(&RecordSchema) -> Option<&'k Known>) -> Fitted {
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
        return Fitted { columns, rows, absent, misfits: Vec::new() };
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
        misfits: Vec::new(),
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

//! A record's key or value as columns.
//!
//! Owns: which schema a record has (by its offset, or by the id it bears); key or value as bytes and text.
//! Does not own: decoding records of several schemas (`mix`), the columns of all schemas (`union`), JSON without a schema
//! (`inferred`), the format of a payload (schemas).
//! Invariants: what becomes of a record depends on the record and on the stored switches alone; every record is a row
//! or a misfit.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields};
use base::{Offset, PartitionId, SchemaId};
use schemas::{Decoder, RejectCode};
use topics::batch::RecordView;

use super::framing::{Framed, framed};
use super::inferred::{Grown, InferredShape, InferredSource};
use super::mix::Mix;
use super::union::{Places, Target, Union};
use super::{RecordSchema, SchemaSwitch};
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
    /// It is one column, because its schemas have no fields.
    is_bare: bool,
}

#[derive(Debug)]
enum Source {
    Bytes,
    Text,
    /// A schema holds from its switch on; in the order of switches, never empty.
    Eras(Vec<(SchemaSwitch, Known)>),
    /// The schemas that records may name, in the order in which they were met.
    Named(Vec<(RecordSchema, Known)>, schemas::Registry),
    /// JSON without a schema.
    Inferred(Box<InferredSource>),
}

/// A schema that records have.
#[derive(Debug)]
pub(super) enum Known {
    Decodable {
        decoder: Decoder,
        places: Places,
    },
    /// It cannot become columns.
    Unusable(String),
}

/// Which schema a record has that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// The one that holds at its offset; all records of a chunk lie between two switches.
    OfOffset,
    /// The newest.
    Newest,
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
    /// The first row something of which has no column yet.
    pub(super) unfit: Option<usize>,
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
        Self { side, source, targets: union.targets(), differences: Vec::new(), is_bare: true }
    }

    /// Schemas by the offsets from which they hold. The error says why not one of them can become columns.
    pub(super) fn eras(side: Side, eras: Vec<(SchemaSwitch, Compiled)>) -> Result<Self, String> {
        let ids = eras.iter().map(|(switch, _)| switch.schema_id).collect();
        let (switches, compiled): (Vec<_>, Vec<_>) = eras.into_iter().unzip();
        let schemas = known(ids, compiled)?;
        let source = Source::Eras(switches.into_iter().zip(schemas.known).collect());
        let (targets, differences) = (schemas.targets, schemas.differences);
        Ok(Self { side, source, targets, differences, is_bare: schemas.is_bare })
    }

    /// Schemas by what records say of them. The error says why not one of them can become columns.
    pub(super) fn named(
        side: Side,
        named: Vec<(RecordSchema, Compiled)>,
        registry: schemas::Registry,
    ) -> Result<Self, String> {
        let (named, compiled): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let schemas = known(named.iter().map(|n| n.id).collect(), compiled)?;
        let source = Source::Named(named.into_iter().zip(schemas.known).collect(), registry);
        let (targets, differences) = (schemas.targets, schemas.differences);
        Ok(Self { side, source, targets, differences, is_bare: schemas.is_bare })
    }

    /// JSON values without a schema.
    pub(super) fn inferred(stored: InferredShape) -> Self {
        let source = InferredSource::new(stored);
        let mut union = Union::default();
        union.add(source.fields());
        let differences = source.difference().into_iter().collect();
        let source = Source::Inferred(Box::new(source));
        Self { side: Side::Value, source, targets: union.targets(), differences, is_bare: false }
    }

    /// Whether it has fields, rather than one column.
    pub(super) fn has_fields(&self) -> bool {
        !self.is_bare
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
            Source::Inferred(source) => source.next_era(partition, offset),
            _ => None,
        }
    }

    /// Columns that have room for these values too; none when they have already.
    pub(super) fn grown<'r>(&self, values: impl Iterator<Item = &'r [u8]>) -> Option<Grown> {
        match &self.source {
            Source::Inferred(source) => source.grown(values),
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

    /// Turns one side of the records to columns.
    pub(super) fn fit(&self, partition: PartitionId, records: &[RecordView<'_>], era: Era) -> Fitted {
        match &self.source {
            Source::Bytes => {
                let mut bytes = BinaryBuilder::new();
                records.iter().for_each(|record| bytes.append_option(self.payload(record)));
                whole(Arc::new(bytes.finish()))
            }
            Source::Text => self.text_of(records),
            Source::Inferred(source) => source.fit(partition, records, era),
            Source::Eras(eras) => {
                let offset = match era {
                    Era::OfOffset => records.first().map_or(0, |record| record.offset),
                    Era::Newest => Offset::MAX,
                };
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
            Source::Inferred(source) => source.hash(state),
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
        unfit: None,
    }
}

/// Schemas put together.
struct Schemas {
    known: Vec<Known>,
    targets: Vec<Target>,
    differences: Vec<String>,
    is_bare: bool,
}

/// Puts schemas together. The error, when there are schemas and none can be used, is the newest one's. The first one
/// says whether there are fields or one column: that cannot change later.
fn known(ids: Vec<SchemaId>, compiled: Vec<Compiled>) -> Result<Schemas, String> {
    let mut union = Union::default();
    let (mut all, mut differences) = (Vec::with_capacity(ids.len()), Vec::new());
    let (mut is_bare, mut last_error) = (None, None);
    for (id, compiled) in ids.into_iter().zip(compiled) {
        let compiled = compiled.and_then(|decoder| match *is_bare.get_or_insert(decoder.is_bare()) {
            is_bare if is_bare == decoder.is_bare() => Ok(decoder),
            true => {
                Err(format!("schema {id}: it has fields; the table has one column since an earlier schema"))
            }
            false => {
                Err(format!("schema {id}: it has no fields; the table has some since an earlier schema"))
            }
        });
        all.push(match compiled {
            Ok(decoder) => {
                let added = union.add(decoder.columns().fields());
                differences.extend(added.differences.iter().map(|d| format!("schema {id}: {d}")));
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
        Some(reason) if is_bare.is_none() => Err(reason),
        _ => Ok(Schemas {
            known: all,
            targets: union.targets(),
            differences,
            is_bare: is_bare.unwrap_or(false),
        }),
    }
}

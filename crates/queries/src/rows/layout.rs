//! The columns of a topic's table.
//!
//! Owns: where key, headers and the fields of the value lie (Redpanda's layout of 25.3 and later); a field named
//! `redpanda`; putting a chunk's parts together.
//! Does not own: what the parts are (`part`), reading.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use base::{Offset, PartitionId};
use topics::batch::RecordView;

use super::inferred::Grown;
use super::metadata::{self, Metadata};
use super::part::{Era, Fitted, Misfit, Part};
use super::{RecordSchema, RejectedRecord};
use crate::mode::{HeaderValues, ValueLayout};

/// What must be stored before decoding can go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Those of keys, in the order in which they were met.
    pub keys: Vec<RecordSchema>,
    /// Those of values, in the order in which they were met.
    pub values: Vec<RecordSchema>,
    /// Columns of JSON values without a schema.
    pub grown: Option<Grown>,
}

impl Unseen {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.values.is_empty() && self.grown.is_none()
    }
}

/// How records become rows.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) columns: SchemaRef,
    key: Part,
    value: Part,
    headers: HeaderValues,
    nested: bool,
    /// Members of the `redpanda` struct.
    metadata: Fields,
    /// Index among the value's columns of a field named `redpanda`.
    moved: Option<usize>,
}

impl Hash for Layout {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.columns.hash(state);
        self.key.hash(state);
        self.value.hash(state);
    }
}

/// A chunk as rows.
pub(super) struct Rows {
    pub(super) batch: Option<RecordBatch>,
    /// In offset order.
    pub(super) rejected: Vec<RejectedRecord>,
    /// The first record something of which has no column yet.
    pub(super) unfit: Option<Offset>,
}

impl Layout {
    pub(super) fn new(key: Part, value: Part, layout: ValueLayout, headers: HeaderValues) -> Self {
        let fields = value.fields();
        let nested = layout == ValueLayout::Nested && value.has_fields();
        let moved = fields.iter().position(|field| !nested && field.name() == metadata::COLUMN);
        let mut members = metadata::fields(key_field(&key), headers);
        members.extend(moved.map(|index| Arc::new(fields[index].as_ref().clone().with_name(metadata::DATA))));
        let metadata = Fields::from(members);
        let mut columns: Vec<FieldRef> =
            vec![Arc::new(Field::new(metadata::COLUMN, DataType::Struct(metadata.clone()), true))];
        if !nested {
            let own = fields.iter().enumerate().filter(|(index, _)| Some(*index) != moved);
            columns.extend(own.map(|(_, field)| field.clone()));
        } else if !fields.is_empty() {
            columns.push(Arc::new(Field::new(metadata::VALUE, DataType::Struct(fields), true)));
        }
        Self { columns: Arc::new(Schema::new(columns)), key, value, headers, nested, metadata, moved }
    }

    /// First offset above `offset` at which another schema may hold; none when the same ones hold to the end.
    pub(super) fn next_switch(&self, partition: PartitionId, offset: Offset) -> Option<Offset> {
        let switches = [&self.key, &self.value].map(|part| part.next_switch(partition, offset));
        switches.into_iter().flatten().min()
    }

    /// Whether values have fields and none is known.
    pub(super) fn has_no_fields(&self) -> bool {
        self.value.has_fields() && self.value.targets.is_empty()
    }

    /// What keeps fields of some schemas out of the table.
    pub(super) fn differences(&self) -> impl Iterator<Item = &String> {
        self.key.differences.iter().chain(&self.value.differences)
    }

    /// Whether records have to be looked at for the schemas they name before they are decoded.
    pub(super) fn is_named(&self) -> bool {
        self.key.is_named() || self.value.is_named()
    }

    /// Notes the schemas that a record bears and that are not stored; true when there is one.
    pub(super) fn unseen(&self, record: &RecordView<'_>, unseen: &mut Unseen) -> bool {
        let mut any = false;
        for (part, known) in [(&self.key, &mut unseen.keys), (&self.value, &mut unseen.values)] {
            let Some(schema) = part.unseen(record) else { continue };
            any = true;
            if !known.contains(&schema) {
                known.push(schema);
            }
        }
        any
    }

    /// Columns that have room for these records too; none when they have already.
    pub(super) fn grown<'r>(&self, records: impl Iterator<Item = RecordView<'r>>) -> Option<Grown> {
        self.value.grown(records.filter_map(|record| record.value))
    }

    /// Turns records to rows: those of one era, or of any when the newest one holds for all of them.
    pub(super) fn rows(&self, partition: PartitionId, records: &[RecordView<'_>], era: Era) -> Rows {
        let (mut value, mut key) =
            (self.value.fit(partition, records, era), self.key.fit(partition, records, era));
        let unfit = value.unfit.map(|row| records[row].offset);
        let misfits = misfits(&mut value, &mut key);
        let mut rejected = Vec::with_capacity(misfits.len());
        for misfit in misfits {
            rejected.push(reject(partition, &records[misfit.row], misfit));
        }
        if value.rows.is_empty() {
            return Rows { batch: None, rejected, unfit };
        }
        let mut metadata = Metadata::new(partition, value.rows.len(), self.headers);
        for record in value.rows.iter().map(|row| &records[*row]) {
            metadata.push(record.offset, record.timestamp_ms, record.timestamp_type, record.headers.iter());
        }
        let batch = self.batch(metadata.finish(self.key_column(key)), value);
        Rows { batch: Some(batch), rejected, unfit }
    }

    fn key_column(&self, key: Fitted) -> Option<ArrayRef> {
        let Fitted { mut columns, absent, .. } = key;
        if !self.key.has_fields() {
            return columns.pop();
        }
        let fields = self.key.fields();
        if fields.is_empty() {
            return None;
        }
        let there: NullBuffer = absent.iter().map(|absent| !absent).collect();
        Some(Arc::new(StructArray::new(fields, columns, Some(there))))
    }

    /// Puts the `redpanda` column and the value's columns together.
    fn batch(&self, mut metadata: Vec<ArrayRef>, value: Fitted) -> RecordBatch {
        let mut columns = value.columns;
        if let Some(index) = self.moved {
            metadata.push(columns.remove(index));
        }
        let mut all: Vec<ArrayRef> = vec![Arc::new(StructArray::new(self.metadata.clone(), metadata, None))];
        if !self.nested {
            all.append(&mut columns);
        } else if !columns.is_empty() {
            all.push(Arc::new(StructArray::new(self.value.fields(), columns, None)));
        }
        RecordBatch::try_new(self.columns.clone(), all).expect("the columns were built to this schema")
    }
}

/// `redpanda.key`: as it is, as text, of the schema's type, or a struct whose fields are all optional. None as long as no schema of keys is
/// known: a struct needs a field, and a column cannot become one later.
fn key_field(key: &Part) -> Option<Field> {
    let fields = key.fields();
    let data_type = match key.has_fields() {
        false => return fields.first().map(|field| field.as_ref().clone().with_name(metadata::KEY)),
        true if fields.is_empty() => return None,
        true => DataType::Struct(fields),
    };
    Some(Field::new(metadata::KEY, data_type, true))
}

/// What fits on one side only is no row: both sides are cut to the rows that both have.
fn misfits(value: &mut Fitted, key: &mut Fitted) -> Vec<Misfit> {
    let mut misfits = std::mem::take(&mut value.misfits);
    if !key.misfits.is_empty() || !misfits.is_empty() {
        let (in_value, in_key) = (value.rows.clone(), key.rows.clone());
        keep(value, &in_key);
        keep(key, &in_value);
        let also = std::mem::take(&mut key.misfits).into_iter();
        let known = misfits.len();
        for misfit in also {
            if misfits[..known].binary_search_by_key(&misfit.row, |m| m.row).is_err() {
                misfits.push(misfit);
            }
        }
        misfits.sort_by_key(|misfit| misfit.row);
    }
    misfits
}

fn keep(fitted: &mut Fitted, rows: &[usize]) {
    let mask: BooleanArray = fitted.rows.iter().map(|row| Some(rows.binary_search(row).is_ok())).collect();
    if mask.false_count() == 0 {
        return;
    }
    for column in &mut fitted.columns {
        *column = filter(column, &mask).expect("the mask has a bit for each row");
    }
    let mut kept = mask.values().iter();
    fitted.absent.retain(|_| kept.next().unwrap_or(false));
    let mut kept = mask.values().iter();
    fitted.rows.retain(|_| kept.next().unwrap_or(false));
}

pub(super) fn reject(partition: PartitionId, record: &RecordView<'_>, misfit: Misfit) -> RejectedRecord {
    RejectedRecord {
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        timestamp_type: record.timestamp_type,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
            .collect(),
        code: misfit.code,
        message: misfit.message,
        schema_id: misfit.schema_id,
    }
}

//! The columns of a topic's table, and which schema holds where.
//!
//! Owns: how the schemas of a topic's life become one set of columns; a field named `redpanda`.
//! Does not own: turning values to a column's type (`widen`), reading.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use base::{Offset, PartitionId, SchemaId};
use schemas::{DecodeOptions, Decoder};

use super::{RowsError, SchemaSwitch, SchemaSwitches, metadata, widen};

/// How values become columns.
#[derive(Debug)]
pub(super) enum Values {
    /// One column of bytes.
    Bytes,
    /// Columns of schemas, in the order of their switches; never empty.
    Decoded(Vec<Era>),
}

/// From a switch of schema to the next.
#[derive(Debug)]
pub(super) struct Era {
    switch: SchemaSwitch,
    decoder: Decoder,
}

/// The columns of a topic's table.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) columns: SchemaRef,
    values: Values,
    /// The value's columns, before a field named `redpanda` has moved.
    fields: Fields,
    /// Members of the `redpanda` struct.
    metadata: Fields,
    /// Index into `fields` of a field named `redpanda`.
    moved: Option<usize>,
}

impl Hash for Layout {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.columns.hash(state);
        if let Values::Decoded(eras) = &self.values {
            eras.iter().for_each(|era| era.switch.hash(state));
        }
    }
}

/// A value that does not fit the table: row within its chunk, and why.
pub(super) struct Misfit {
    pub(super) row: usize,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Values as columns: the rows that fit, and the others.
pub(super) struct Fitted {
    /// Arrays in the order of the layout's fields.
    pub(super) columns: Vec<ArrayRef>,
    /// Sorted by row.
    pub(super) misfits: Vec<Misfit>,
    pub(super) schema_id: Option<SchemaId>,
}

impl Values {
    pub(super) fn decoded(
        topic: &str,
        switches: &SchemaSwitches,
        resolve: impl Fn(SchemaId) -> Result<schemas::ResolvedSchema, RowsError>,
    ) -> Result<Self, RowsError> {
        let mut eras = Vec::with_capacity(switches.switches.len());
        for switch in &switches.switches {
            let decoder = Decoder::new(&resolve(switch.schema_id)?, &DecodeOptions::default())?;
            eras.push(Era { switch: switch.clone(), decoder });
        }
        if eras.is_empty() {
            return Err(RowsError::NotReady(format!("topic {topic} has no schema yet")));
        }
        Ok(Self::Decoded(eras))
    }
}

impl Era {
    fn start(&self, partition: PartitionId) -> Offset {
        self.switch.starts.get(&partition).copied().unwrap_or(0)
    }
}

impl Layout {
    pub(super) fn new(values: Values) -> Self {
        let fields = match &values {
            Values::Bytes => Fields::from(vec![Field::new("value", DataType::Binary, true)]),
            Values::Decoded(eras) => eras
                .iter()
                .map(|era| era.decoder.columns().fields().clone())
                .reduce(|older, newer| merged(&older, &newer))
                .unwrap_or_else(Fields::empty),
        };
        let moved = fields.iter().position(|field| field.name() == metadata::COLUMN);
        let mut members = metadata::fields();
        members
            .extend(moved.map(|index| Field::new(metadata::DATA, fields[index].data_type().clone(), true)));
        let metadata = Fields::from(members);
        let mut columns: Vec<FieldRef> =
            vec![Arc::new(Field::new(metadata::COLUMN, DataType::Struct(metadata.clone()), true))];
        columns.extend(fields.iter().enumerate().filter(|(i, _)| Some(*i) != moved).map(|(_, f)| f.clone()));
        Self { columns: Arc::new(Schema::new(columns)), values, fields, metadata, moved }
    }

    /// First offset above `offset` at which another schema may hold; none when the same one holds to the end.
    pub(super) fn next_switch(&self, partition: PartitionId, offset: Offset) -> Option<Offset> {
        match &self.values {
            Values::Bytes => None,
            Values::Decoded(eras) => eras.iter().map(|e| e.start(partition)).filter(|s| *s > offset).min(),
        }
    }

    /// Turns values of records at `offset` and after, up to the next switch, to the layout's fields.
    pub(super) fn fit(&self, partition: PartitionId, offset: Offset, values: &[Option<&[u8]>]) -> Fitted {
        let eras = match &self.values {
            Values::Bytes => {
                let mut bytes = BinaryBuilder::new();
                values.iter().for_each(|value| bytes.append_option(*value));
                return Fitted {
                    columns: vec![Arc::new(bytes.finish())],
                    misfits: Vec::new(),
                    schema_id: None,
                };
            }
            Values::Decoded(eras) => eras,
        };
        // The first switch holds from 0 on, so the fallback is for a stored value that says otherwise.
        let era = eras.iter().rev().find(|era| era.start(partition) <= offset).unwrap_or(&eras[0]);
        let decoded = era.decoder.decode(values);
        let mut misfits: Vec<Misfit> = decoded
            .rejected
            .into_iter()
            .map(|r| Misfit { row: r.row, code: r.code.as_str(), message: r.message })
            .collect();
        let columns = self.widen(&decoded.batch, &mut misfits);
        Fitted { columns, misfits, schema_id: Some(era.switch.schema_id) }
    }

    /// Turns the rows of one schema to the layout's fields. Rows that do not fit join the misfits.
    fn widen(&self, batch: &RecordBatch, misfits: &mut Vec<Misfit>) -> Vec<ArrayRef> {
        if batch.schema().fields() == &self.fields {
            return batch.columns().to_vec();
        }
        let widened = widen::columns(batch, &self.fields);
        if widened.misfits.is_empty() {
            return widened.columns;
        }
        // Rows of the batch are the values that were not rejected: count them off to find a row's value.
        let mut place = Places::new(misfits);
        let found: Vec<Misfit> = widened
            .misfits
            .into_iter()
            .map(|(row, message)| Misfit {
                row: place.of(row),
                code: schemas::RejectCode::SchemaMismatch.as_str(),
                message,
            })
            .collect();
        misfits.extend(found);
        misfits.sort_by_key(|misfit| misfit.row);
        widened.columns
    }

    /// Puts the `redpanda` column and the value's columns together.
    pub(super) fn batch(&self, mut metadata: Vec<ArrayRef>, mut columns: Vec<ArrayRef>) -> RecordBatch {
        if let Some(index) = self.moved {
            metadata.push(columns.remove(index));
        }
        columns.insert(0, Arc::new(StructArray::new(self.metadata.clone(), metadata, None)));
        RecordBatch::try_new(self.columns.clone(), columns).expect("the columns were built to this schema")
    }
}

/// From rows that were kept to the values they came from. Asked in ascending order.
struct Places {
    gaps: Vec<usize>,
    passed: usize,
}

impl Places {
    fn new(misfits: &[Misfit]) -> Self {
        Self { gaps: misfits.iter().map(|m| m.row).collect(), passed: 0 }
    }

    fn of(&mut self, kept: usize) -> usize {
        while self.gaps.get(self.passed).is_some_and(|gap| *gap <= kept + self.passed) {
            self.passed += 1;
        }
        kept + self.passed
    }
}

/// The fields of a newer schema in their order, then those that only the older ones have. A field that both have
/// keeps its older type (tables cannot change it), but for members that are added to objects within it.
fn merged(older: &Fields, newer: &Fields) -> Fields {
    let mut fields: Vec<FieldRef> = Vec::with_capacity(newer.len());
    for field in newer {
        match older.find(field.name()) {
            None => fields.push(field.clone()),
            Some((_, known)) => {
                let data_type = merged_type(known.data_type(), field.data_type());
                fields.push(Arc::new(Field::new(field.name(), data_type, known.is_nullable())));
            }
        }
    }
    fields.extend(older.iter().filter(|field| newer.find(field.name()).is_none()).cloned());
    fields.into()
}

fn merged_type(older: &DataType, newer: &DataType) -> DataType {
    let within = |older: &FieldRef, newer: &FieldRef| {
        let data_type = merged_type(older.data_type(), newer.data_type());
        Arc::new(Field::new(older.name(), data_type, older.is_nullable()))
    };
    match (older, newer) {
        (DataType::Struct(older), DataType::Struct(newer)) => DataType::Struct(merged(older, newer)),
        (DataType::List(older), DataType::List(newer)) => DataType::List(within(older, newer)),
        (DataType::Map(older, sorted), DataType::Map(newer, _)) => {
            DataType::Map(within(older, newer), *sorted)
        }
        _ => older.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_again_among_gaps() {
        let misfit = |row| Misfit { row, code: "", message: String::new() };
        let mut places = Places::new(&[misfit(0), misfit(1), misfit(4)]);
        assert_eq!([0, 1, 2, 3].map(|kept| places.of(kept)), [2, 3, 5, 6]);
    }

    #[test]
    fn newer_schemas_add_and_never_drop() {
        let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
        let older = Fields::from(vec![
            field("gone", DataType::Utf8),
            field("same", DataType::Int64),
            field("o", DataType::Struct(vec![field("x", DataType::Int64)].into())),
        ]);
        let newer = Fields::from(vec![
            field(
                "o",
                DataType::Struct(vec![field("y", DataType::Utf8), field("x", DataType::Float64)].into()),
            ),
            field("new", DataType::Boolean),
            field("same", DataType::Utf8),
        ]);
        let expected = Fields::from(vec![
            field(
                "o",
                DataType::Struct(vec![field("y", DataType::Utf8), field("x", DataType::Int64)].into()),
            ),
            field("new", DataType::Boolean),
            field("same", DataType::Int64),
            field("gone", DataType::Utf8),
        ]);
        assert_eq!(merged(&older, &newer), expected);
    }
}

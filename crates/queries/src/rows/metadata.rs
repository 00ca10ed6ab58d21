//! What a record carries beside its value: the `redpanda` column, and rows of the dead-letter table.
//!
//! Owns: their columns (Redpanda's layout of 25.3 and later) and how they are filled.
//! Does not own: values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int32Builder, Int64Builder, ListArray, RecordBatch, StringArray,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use base::{Offset, PartitionId};

use super::RejectedRecord;
use crate::mode::HeaderValues;

/// Name of the column.
pub(super) const COLUMN: &str = "redpanda";
/// Where a value's field of that name goes: within the column.
pub(super) const DATA: &str = "data";
/// The key, within the column.
pub(super) const KEY: &str = "key";
/// Column of values that are not a column per field.
pub(super) const VALUE: &str = "value";

/// 0000-01-01 and 9999-12-31 in milliseconds since 1970: times beyond them have no form in most systems.
pub(super) const TIMESTAMPS_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

fn header_fields(values: HeaderValues) -> Fields {
    let value = match values {
        HeaderValues::Binary => DataType::Binary,
        HeaderValues::String => DataType::Utf8,
    };
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", value, true)])
}

fn headers_element(values: HeaderValues) -> Field {
    Field::new("element", DataType::Struct(header_fields(values)), true)
}

/// The members of the `redpanda` column, in Redpanda's order.
pub(super) fn fields(key: Option<Field>, headers: HeaderValues) -> Vec<FieldRef> {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let mut fields = vec![
        Field::new("partition", DataType::Int32, true),
        Field::new("timestamp", timestamp, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("headers", DataType::List(Arc::new(headers_element(headers))), true),
    ];
    fields.extend(key);
    fields.push(Field::new("timestamp_type", DataType::Int32, true));
    fields.into_iter().map(Arc::new).collect()
}

/// Header values of either type.
enum Values {
    Binary(BinaryBuilder),
    String(StringBuilder),
}

/// Collects the `redpanda` column.
pub(super) struct Metadata {
    partition: PartitionId,
    timestamps: TimestampMicrosecondBuilder,
    offsets: Int64Builder,
    header_ends: Vec<i32>,
    header_keys: StringBuilder,
    header_values: Values,
    timestamp_types: Int32Builder,
}

impl Metadata {
    pub(super) fn new(partition: PartitionId, capacity: usize, headers: HeaderValues) -> Self {
        let mut header_ends = Vec::with_capacity(capacity + 1);
        header_ends.push(0);
        Self {
            partition,
            timestamps: TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone("+00:00"),
            offsets: Int64Builder::with_capacity(capacity),
            header_ends,
            header_keys: StringBuilder::new(),
            header_values: match headers {
                HeaderValues::Binary => Values::Binary(BinaryBuilder::new()),
                HeaderValues::String => Values::String(StringBuilder::new()),
            },
            timestamp_types: Int32Builder::with_capacity(capacity),
        }
    }

    /// Adds a record. A time without a four-digit year (Kafka's "no timestamp" is -1 and has one) becomes null;
    /// headers' keys, and values that are text, get U+FFFD where they are no UTF-8, as in Redpanda.
    pub(super) fn push<'a>(
        &mut self,
        offset: Offset,
        timestamp_ms: i64,
        timestamp_type: i32,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let known = TIMESTAMPS_MS.contains(&timestamp_ms);
        self.timestamps.append_option(known.then(|| timestamp_ms * 1000));
        self.offsets.append_value(offset);
        self.timestamp_types.append_value(timestamp_type);
        for (name, value) in headers {
            self.header_keys.append_value(String::from_utf8_lossy(name));
            match &mut self.header_values {
                Values::Binary(values) => values.append_option(value),
                Values::String(values) => values.append_option(value.map(String::from_utf8_lossy)),
            }
        }
        // A chunk's headers lie within one read of the log, which is far below 2^31 of them.
        let end = i32::try_from(arrow::array::ArrayBuilder::len(&self.header_keys)).unwrap_or(i32::MAX);
        self.header_ends.push(end);
    }

    /// The members as arrays, in the order of [`fields`].
    pub(super) fn finish(mut self, keys: Option<ArrayRef>) -> Vec<ArrayRef> {
        let offsets = self.offsets.finish();
        let rows = arrow::array::Array::len(&offsets);
        let (values, kind): (ArrayRef, _) = match self.header_values {
            Values::Binary(mut values) => (Arc::new(values.finish()), HeaderValues::Binary),
            Values::String(mut values) => (Arc::new(values.finish()), HeaderValues::String),
        };
        let headers =
            StructArray::new(header_fields(kind), vec![Arc::new(self.header_keys.finish()), values], None);
        let headers = ListArray::new(
            Arc::new(headers_element(kind)),
            OffsetBuffer::new(ScalarBuffer::from(self.header_ends)),
            Arc::new(headers),
            None,
        );
        let mut members: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_value(self.partition, rows)),
            Arc::new(self.timestamps.finish()),
            Arc::new(offsets),
            Arc::new(headers),
        ];
        members.extend(keys);
        members.push(Arc::new(self.timestamp_types.finish()));
        members
    }
}

fn error_fields() -> Fields {
    Fields::from(vec![
        Field::new("code", DataType::Utf8, true),
        Field::new("message", DataType::Utf8, true),
        Field::new("schema_id", DataType::Int32, true),
    ])
}

/// The members of the column in a dead-letter table, where everything is as it was.
fn plain_fields() -> Fields {
    fields(Some(Field::new(KEY, DataType::Binary, true)), HeaderValues::Binary).into()
}

/// Columns of the dead-letter table.
pub(super) fn dead_letter_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(COLUMN, DataType::Struct(plain_fields()), true),
        Field::new(VALUE, DataType::Binary, true),
        Field::new("error", DataType::Struct(error_fields()), true),
    ]))
}

/// Rows of the dead-letter table. The records may be of several partitions.
pub(super) fn dead_letter_rows(rejected: &[RejectedRecord]) -> RecordBatch {
    let mut metadata = Metadata::new(0, rejected.len(), HeaderValues::Binary);
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    for record in rejected {
        let headers = record.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        metadata.push(record.offset, record.timestamp_ms, record.timestamp_type, headers);
        keys.append_option(record.key.as_deref());
        values.append_option(record.value.as_deref());
    }
    let mut members = metadata.finish(Some(Arc::new(keys.finish())));
    let partitions: Int32Array = rejected.iter().map(|record| Some(record.partition)).collect();
    members[0] = Arc::new(partitions);
    let codes: StringArray = rejected.iter().map(|record| Some(record.code)).collect();
    let messages: StringArray = rejected.iter().map(|record| Some(record.message.as_str())).collect();
    let schema_ids: Int32Array = rejected.iter().map(|record| record.schema_id).collect();
    let error = StructArray::new(
        error_fields(),
        vec![Arc::new(codes), Arc::new(messages), Arc::new(schema_ids)],
        None,
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StructArray::new(plain_fields(), members, None)),
        Arc::new(values.finish()),
        Arc::new(error),
    ];
    RecordBatch::try_new(dead_letter_columns(), columns).expect("the columns were built to this schema")
}

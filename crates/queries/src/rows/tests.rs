use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::{Bytes, BytesMut};
use schemas::{RegisteredSchema, ResolvedSchema, SchemaType};
use topics::ReadBatches;
use topics::batch::{BatchBuilder, Compression};

use super::*;
use crate::mode::{HeaderValues, ValueLayout};

const TRADES: &str = r#"{"type":"object","properties":{"symbol":{"type":"string"},"qty":{"type":"integer"}},
    "required":["symbol","qty"]}"#;
const TRADES_WITH_NOTES: &str = r#"{"type":"object","properties":{"notes":{"type":"string"},
    "symbol":{"type":"string"},"qty":{"type":"number"}},"required":["symbol"]}"#;

fn switch(schema_id: SchemaId, starts: &[(PartitionId, Offset)]) -> SchemaSwitch {
    SchemaSwitch { schema_id, starts: starts.iter().copied().collect() }
}

/// A layout whose schemas have the ids 1, 2, …
fn layout(schemas: &[&str], switches: Vec<SchemaSwitch>) -> Layout {
    let compiled = |id: SchemaId| {
        let schema = RegisteredSchema {
            id,
            schema_type: SchemaType::Json,
            schema: schemas[id as usize - 1].to_owned(),
            references: Vec::new(),
        };
        let schema = ResolvedSchema::alone(schema);
        Decoder::new(&schema, &DecodeOptions::default()).map_err(|error| error.to_string())
    };
    let eras = switches.into_iter().map(|s| (s.clone(), compiled(s.schema_id))).collect();
    plain(Part::eras(Side::Value, eras).expect("schemas"))
}

fn plain(value: Part) -> Layout {
    Layout::new(Part::bytes(Side::Key), value, ValueLayout::Flat, HeaderValues::Binary)
}

fn bytes() -> Layout {
    plain(Part::bytes(Side::Value))
}

/// A batch at an offset: its records' values.
fn batch(base_offset: Offset, values: &[Option<&str>], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new().compression(compression);
    for (i, value) in values.iter().enumerate() {
        let key = format!("k{}", base_offset + i as i64);
        let headers: &[(&[u8], Option<&[u8]>)] =
            if i == 0 { &[(b"h\xff", Some(b"v")), (b"n", None)] } else { &[] };
        builder.push(1_000 + i as i64, Some(key.as_bytes()), value.map(str::as_bytes), headers);
    }
    at(base_offset, builder.build().expect("batch"))
}

fn at(base_offset: Offset, batch: Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes.freeze()
}

fn read(batches: &[Bytes], next: Offset) -> ReadBatches {
    ReadBatches { bytes: batches.concat().into(), next, ..ReadBatches::default() }
}

fn decode(layout: &Layout, from: Offset, end: Offset, read: &ReadBatches) -> DecodedRows {
    range::decode(layout, ("trades", 2), from..end, read, 1 << 20, NewFields::Stop).expect("decodes")
}

fn together(layout: &Layout, rows: &DecodedRows) -> RecordBatch {
    concat_batches(&layout.columns, &rows.batches).expect("one schema")
}

fn offsets(batch: &RecordBatch) -> Vec<i64> {
    let offsets = batch.column(0).as_struct().column_by_name("offset").expect("offset");
    offsets.as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn the_redpanda_column_is_redpandas() {
    let layout = bytes();
    let DataType::Struct(members) = layout.columns.field(0).data_type() else { panic!("a struct") };
    let names: Vec<_> = members.iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["partition", "timestamp", "offset", "headers", "key", "timestamp_type"]);
    assert_eq!(layout.columns.field(0).name(), "redpanda");
    assert_eq!(members[1].data_type().to_string(), "Timestamp(µs, \"+00:00\")");

    let bytes = batch(5, &[Some("a"), None], Compression::None);
    let rows = decode(&layout, 5, 7, &read(&[bytes], 7));
    assert_eq!((rows.from, rows.next, rows.rejected.len()), (5, 7, 0));
    let batch = together(&layout, &rows);
    let redpanda = batch.column(0).as_struct();
    assert_eq!(redpanda.column(0).as_primitive::<Int32Type>().values(), &[2, 2]);
    assert_eq!(
        redpanda.column(1).as_primitive::<TimestampMicrosecondType>().values(),
        &[1_000_000, 1_001_000]
    );
    assert_eq!(offsets(&batch), [5, 6]);
    assert_eq!(redpanda.column(4).as_binary::<i32>().value(1), b"k6");
    assert_eq!(redpanda.column(5).as_primitive::<Int32Type>().values(), &[0, 0]);
    let headers = redpanda.column(3).as_list::<i32>();
    assert_eq!((headers.value_length(0), headers.value_length(1)), (2, 0));
    let first = headers.value(0);
    assert_eq!(first.as_struct().column(0).as_string::<i32>().value(0), "h\u{fffd}");
    assert!(first.as_struct().column(1).is_null(1));
    let values = batch.column(1).as_binary::<i32>();
    assert_eq!(values.value(0), b"a");
    assert!(values.is_null(1));
}

#[test]
fn times_without_a_year_of_four_digits_are_null() {
    let layout = bytes();
    let mut builder = BatchBuilder::new();
    for time in [-1, 253_402_300_799_999, 253_402_300_800_000, i64::MIN, i64::MAX] {
        builder.push(time, None, None, &[]);
    }
    let rows = decode(&layout, 0, 5, &read(&[builder.build().expect("batch")], 5));
    let batch = together(&layout, &rows);
    let nulls: Vec<bool> = (0..5).map(|row| batch.column(0).as_struct().column(1).is_null(row)).collect();
    assert_eq!(nulls, [false, false, true, true, true]);
}

#[test]
fn what_does_not_fit_is_rejected_with_all_its_parts() {
    let layout = layout(&[TRADES], vec![switch(1, &[])]);
    let values = [
        Some(r#"{"symbol":"A","qty":1}"#),
        None,
        Some(r#"{"symbol":"B","qty":"2"}"#),
        Some("{"),
        Some("\0\0\0\0\u{7}{\"symbol\":\"C\",\"qty\":3}"),
    ];
    let rows = decode(&layout, 10, 15, &read(&[batch(10, &values, Compression::None)], 15));
    let batch = together(&layout, &rows);
    assert_eq!(offsets(&batch), [10, 14]);
    assert_eq!(batch.column(1).as_string::<i32>().value(1), "C");
    let rejected: Vec<_> = rows.rejected.iter().map(|r| (r.offset, r.code)).collect();
    assert_eq!(rejected, [(11, "null_value"), (12, "schema_mismatch"), (13, "malformed")]);
    assert!(rows.rejected[1].message.contains("field `qty`"), "{}", rows.rejected[1].message);

    let letters = TopicRows::dead_letter_rows(&rows.rejected);
    assert_eq!(letters.schema(), TopicRows::dead_letter_columns());
    assert_eq!(offsets(&letters), [11, 12, 13]);
    let redpanda = letters.column(0).as_struct();
    assert_eq!(redpanda.column(0).as_primitive::<Int32Type>().values(), &[2, 2, 2]);
    assert_eq!(redpanda.column(4).as_binary::<i32>().value(0), b"k11");
    assert!(letters.column(1).is_null(0));
    assert_eq!(letters.column(1).as_binary::<i32>().value(2), b"{");
    let error = letters.column(2).as_struct();
    assert_eq!(error.column(0).as_string::<i32>().value(2), "malformed");
    assert_eq!(error.column(2).as_primitive::<Int32Type>().values(), &[1, 1, 1]);
    assert_eq!(TopicRows::dead_letter_rows(&[]).num_rows(), 0);
}

#[test]
fn each_schema_holds_from_its_switch_on() {
    let switches = vec![switch(1, &[(0, 0), (2, 0)]), switch(2, &[(0, 0), (2, 3)])];
    let layout = layout(&[TRADES, TRADES_WITH_NOTES], switches);
    let names: Vec<_> = layout.columns.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["redpanda", "notes", "symbol", "qty"]);
    assert_eq!(layout.columns.field(3).data_type(), &DataType::Int64, "a column keeps its first type");

    let value = r#"{"symbol":"A","qty":1,"notes":"n"}"#;
    let fraction = r#"{"symbol":"A","qty":1.5}"#;
    let without = r#"{"symbol":"A"}"#;
    let values = [Some(value), Some(fraction), Some(value), Some(value), Some(fraction), Some(without)];
    let rows = decode(&layout, 0, 6, &read(&[batch(0, &values, Compression::None)], 6));
    let rejected: Vec<_> = rows.rejected.iter().map(|r| (r.offset, r.schema_id)).collect();
    assert_eq!(rejected, [(1, Some(1)), (4, Some(2))]);
    assert!(rows.rejected[1].message.contains("earlier schema"), "{}", rows.rejected[1].message);
    let batch = together(&layout, &rows);
    assert_eq!(offsets(&batch), [0, 2, 3, 5]);
    let notes = batch.column(1).as_string::<i32>();
    let known: Vec<bool> = (0..4).map(|row| notes.is_valid(row)).collect();
    assert_eq!(known, [false, false, true, false], "the first schema knows no notes");
    assert_eq!(batch.column(3).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()[3], None);
}

#[test]
fn a_partition_added_later_has_the_newest_schema_from_the_start() {
    let layout = layout(&[TRADES, TRADES_WITH_NOTES], vec![switch(1, &[(0, 0)]), switch(2, &[(0, 100)])]);
    let value = r#"{"symbol":"A","qty":1,"notes":"n"}"#;
    let rows = decode(&layout, 0, 1, &read(&[batch(0, &[Some(value)], Compression::None)], 1));
    assert!(together(&layout, &rows).column(1).is_valid(0));
}

#[test]
fn a_field_named_redpanda_moves_into_the_struct() {
    let schema = r#"{"type":"object","properties":{"redpanda":{"type":"string"},"x":{"type":"integer"}}}"#;
    let layout = layout(&[schema], vec![switch(1, &[])]);
    assert_eq!(layout.columns.fields().len(), 2);
    let rows =
        decode(&layout, 0, 1, &read(&[batch(0, &[Some(r#"{"redpanda":"r","x":1}"#)], Compression::None)], 1));
    let batch = together(&layout, &rows);
    let data = batch.column(0).as_struct().column_by_name("data").expect("data");
    assert_eq!(data.as_string::<i32>().value(0), "r");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 1);
}

#[test]
fn a_range_may_begin_and_end_within_batches() {
    let layout = bytes();
    let batches = [
        batch(0, &[Some("0"), Some("1"), Some("2")], Compression::Zstd),
        batch(3, &[Some("3"), Some("4"), Some("5")], Compression::Lz4),
    ];
    let rows = decode(&layout, 1, 5, &read(&batches, 6));
    assert_eq!((rows.from, rows.next), (1, 5));
    assert_eq!(offsets(&together(&layout, &rows)), [1, 2, 3, 4]);
    let hash = |bytes: &Bytes| {
        topics::batch::BatchView::split_first(&mut bytes.clone()).expect("batch").content_hash()
    };
    assert_eq!(rows.last_hash, hash(&batches[1]));
    let rows = decode(&layout, 1, 3, &read(&batches, 6));
    assert_eq!((rows.next, rows.last_hash), (3, hash(&batches[0])));
    let none = decode(&layout, 3, 9, &read(&[], 3));
    assert_eq!((none.next, none.last_hash, none.batches.len()), (3, 0, 0));
}

#[test]
fn control_batches_and_gaps_are_passed_over() {
    let layout = bytes();
    let mut control = BytesMut::from(&batch(2, &[Some("marker")], Compression::None)[..]);
    control[22] |= 1 << 5;
    let batches = [batch(0, &[Some("0"), Some("1")], Compression::None), control.freeze()];
    let rows = decode(&layout, 0, 10, &read(&batches, 3));
    assert_eq!(rows.next, 3);
    assert_eq!(offsets(&together(&layout, &rows)), [0, 1]);
    assert_ne!(rows.last_hash, decode(&layout, 0, 2, &read(&batches, 3)).last_hash);
    // Offsets 3 to 6 went with compaction.
    let rows = decode(&layout, 3, 10, &read(&[batch(7, &[Some("7")], Compression::None)], 8));
    assert_eq!((rows.from, rows.next), (3, 8));
    assert_eq!(offsets(&together(&layout, &rows)), [7]);
}

#[test]
fn damage_is_named() {
    let layout = bytes();
    let mut bytes = BytesMut::from(&batch(4, &[Some("x")], Compression::None)[..]);
    bytes[61] = 0x7f;
    let error =
        range::decode(&layout, ("trades", 2), 4..5, &read(&[bytes.freeze()], 5), 1 << 20, NewFields::Stop);
    let error = error.expect_err("damaged").to_string();
    assert!(error.starts_with("damaged batch at offset 4 of trades-2"), "{error}");
    let bomb = batch(0, &[Some(&"0".repeat(2 << 20))], Compression::Zstd);
    assert!(
        range::decode(&layout, ("trades", 2), 0..1, &read(&[bomb], 1), 1 << 20, NewFields::Stop).is_err()
    );
}

#[test]
fn any_chunking_gives_the_same_rows() {
    let layout = layout(
        &[TRADES, TRADES_WITH_NOTES],
        vec![switch(1, &[(2, 0)]), switch(2, &[(2, 37)]), switch(1, &[(2, 80)])],
    );
    let values: Vec<String> = (0..120)
        .map(|i| match i % 7 {
            0 => "not JSON".into(),
            1 => format!(r#"{{"qty":{i}.5,"symbol":"S"}}"#),
            2 => format!(r#"{{"qty":{i},"notes":"n{i}","symbol":"S"}}"#),
            _ => format!(r#"{{"symbol":"S{i}","qty":{i}}}"#),
        })
        .collect();
    let mut batches = Vec::new();
    let mut base = 0;
    for size in [1, 5, 3, 11, 20, 2, 18, 30, 30] {
        let chosen: Vec<_> = values[base..base + size].iter().map(|v| Some(v.as_str())).collect();
        batches.push((base as i64, size as i64, batch(base as i64, &chosen, Compression::Snappy)));
        base += size;
    }
    assert_eq!(base, 120);
    let reading = |from: Offset, end: Offset| {
        let touched = batches.iter().filter(|(base, size, _)| base + size > from && *base < end);
        let bytes: Vec<_> = touched.map(|(.., bytes)| bytes.clone()).collect();
        decode(&layout, from, end, &read(&bytes, end))
    };
    let whole = reading(0, 120);
    let rejected = |rows: &DecodedRows| -> Vec<(Offset, String)> {
        rows.rejected.iter().map(|r| (r.offset, r.message.clone())).collect()
    };
    for step in [1, 7, 36, 50] {
        let (mut parts, mut refused, mut from) = (Vec::new(), Vec::new(), 0);
        while from < 120 {
            let part = reading(from, (from + step).min(120));
            assert_eq!(part.from, from);
            from = part.next;
            refused.extend(rejected(&part));
            parts.extend(part.batches);
        }
        let parts = concat_batches(&layout.columns, &parts).expect("one schema");
        assert_eq!(parts, together(&layout, &whole), "in steps of {step}");
        assert_eq!(refused, rejected(&whole), "in steps of {step}");
    }
    let rows = together(&layout, &whole).num_rows();
    assert_eq!(rows + whole.rejected.len(), 120);
    assert!(rows > 60 && whole.rejected.len() > 20);
}

//! Random messages, whole, joined and mutated: the decoder and `prost-reflect` must agree on every one.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{Float32Type, Float64Type};
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

use super::*;
use crate::decode::tests::Random;

const SCHEMA: &str = "message M {
    bool b = 1; float f = 2; double d = 3; string s = 4; bytes raw = 5;
    int32 i = 6; sint32 si = 7; sfixed32 xi = 8; int64 l = 9; sint64 sl = 10; sfixed64 xl = 11;
    uint32 u = 12; fixed32 xu = 13; uint64 ul = 14; fixed64 xul = 15;
    E e = 16; optional int32 oi = 17; optional string os = 70; optional E oe = 71;
    N n = 18; google.protobuf.Timestamp t = 19;
    oneof one { int32 first = 20; N second = 21; string third = 22; E fourth = 23; }
    repeated int32 ri = 24; repeated double rd = 25; repeated string rs = 26; repeated N rn = 27; repeated E re = 28;
    repeated sint64 unpacked = 29 [packed = false];
    map<string, int64> ms = 30; map<int32, N> mn = 31; map<bool, E> mb = 32; map<uint64, string> mu = 33;
    enum E { ZERO = 0; ONE = 1; MINUS = -1; }
    message N { int32 x = 1; optional string y = 2; Deep deep = 3; repeated Deep deeps = 4; }
    message Deep { string z = 1; fixed64 w = 100; }
}";

fn number(random: &mut Random) -> i64 {
    let bits = random.below(63) as u32;
    (random.0 as i64 >> bits).wrapping_mul(if random.below(2) == 0 { -1 } else { 1 })
}

fn text(random: &mut Random) -> String {
    (0..random.below(8)).map(|_| ['a', 'ü', '😀', '"', '\n', '0'][random.below(6)]).collect()
}

fn value(kind: &Kind, random: &mut Random) -> Value {
    let number = number(random);
    match kind {
        Kind::Bool => Value::Bool(number > 0),
        Kind::Float => Value::F32(number as f32 / 4.0),
        Kind::Double => Value::F64(number as f64 / 4.0),
        Kind::String => Value::String(text(random)),
        Kind::Bytes => Value::Bytes(text(random).into_bytes().into()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
        Kind::Enum(_) => Value::EnumNumber([0, 1, -1, 7][random.below(4)]),
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            let mut timestamp = DynamicMessage::new(message.clone());
            timestamp.set_field_by_name("seconds", Value::I64(number % 100_000_000_000));
            timestamp.set_field_by_name("nanos", Value::I32(random.below(1_000_000_000) as i32));
            Value::Message(timestamp)
        }
        Kind::Message(message) => Value::Message(random_message(message, random)),
    }
}

fn random_message(descriptor: &MessageDescriptor, random: &mut Random) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if random.below(2) == 0 {
            continue;
        }
        let filled = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let (key, of) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
                let entries = (0..random.below(4))
                    .filter_map(|_| Some((value(&key, random).into_map_key()?, value(&of, random))));
                Value::Map(entries.collect::<HashMap<_, _>>())
            }
            kind if field.is_list() => {
                Value::List((0..random.below(4)).map(|_| value(&kind, random)).collect())
            }
            kind => value(&kind, random),
        };
        message.set_field(&field, filled);
    }
    message
}

/// Whether a row of an array holds what `prost-reflect` read.
fn same(array: &ArrayRef, row: usize, kind: &Kind, value: &Value) -> bool {
    if array.is_null(row) {
        return false;
    }
    let long = || array.as_primitive::<Int64Type>().value(row);
    let text = || array.as_string::<i32>().value(row);
    match value {
        Value::Bool(v) => array.as_boolean().value(row) == *v,
        Value::I32(v) => array.as_primitive::<Int32Type>().value(row) == *v,
        Value::I64(v) => long() == *v,
        Value::U32(v) => long() == i64::from(*v),
        Value::U64(v) => text() == v.to_string(),
        Value::F32(v) => array.as_primitive::<Float32Type>().value(row).to_bits() == v.to_bits(),
        Value::F64(v) => array.as_primitive::<Float64Type>().value(row).to_bits() == v.to_bits(),
        Value::String(v) => text() == v,
        Value::Bytes(v) => array.as_binary::<i32>().value(row) == v,
        Value::EnumNumber(v) => match kind {
            Kind::Enum(descriptor) => match descriptor.get_value(*v) {
                Some(known) => text() == known.name(),
                None => text() == v.to_string(),
            },
            _ => false,
        },
        Value::Message(message) => match array.as_struct_opt() {
            Some(columns) => message.descriptor().fields().all(|field| {
                columns
                    .column_by_name(field.name())
                    .is_some_and(|column| same_field(column, row, message, &field))
            }),
            None => {
                let part = |name| message.get_field_by_name(name).expect("a timestamp").into_owned();
                let micros = part("seconds").as_i64().expect("seconds") * 1_000_000
                    + i64::from(part("nanos").as_i32().expect("nanos") / 1000);
                array.as_primitive::<TimestampMicrosecondType>().value(row) == micros
            }
        },
        Value::List(items) => {
            let list = array.as_list::<i32>().value(row);
            list.len() == items.len() && items.iter().enumerate().all(|(i, item)| same(&list, i, kind, item))
        }
        Value::Map(entries) => {
            let map = array.as_map().value(row);
            let Kind::Message(entry) = kind else { return false };
            let of = entry.map_entry_value_field().kind();
            map.len() == entries.len()
                && (0..map.len()).all(|i| {
                    let found = entries.iter().find(|(key, _)| same_key(map.column(0), i, key));
                    found.is_some_and(|(_, value)| same(map.column(1), i, &of, value))
                })
        }
    }
}

fn same_key(array: &ArrayRef, row: usize, key: &MapKey) -> bool {
    match key {
        MapKey::Bool(v) => array.as_boolean().value(row) == *v,
        MapKey::I32(v) => array.as_primitive::<Int32Type>().value(row) == *v,
        MapKey::U64(v) => array.as_string::<i32>().value(row) == v.to_string(),
        MapKey::String(v) => array.as_string::<i32>().value(row) == v,
        _ => false,
    }
}

fn same_field(column: &ArrayRef, row: usize, message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    if field.supports_presence() && !message.has_field(field) {
        return column.is_null(row);
    }
    same(column, row, &field.kind(), &message.get_field(field))
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] = random.below(256) as u8,
        1 => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, [0, 1, 2, 0x0b, 0x7f, 0x80, 0xff][random.below(7)]),
        _ => bytes.truncate(at.max(1)),
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}

#[test]
fn random_messages_read_as_prost_reflect_reads_them() {
    let resolved = resolved(SCHEMA);
    let oracle = crate::protobuf::compile(&resolved).expect("compiled").message(None).expect("M");
    let decoder = Decoder::new(&resolved, &DecodeOptions::default()).expect("supported");
    let mut random = Random(0x5eed);
    let (mut whole, mut accepted, mut refused) = (0, 0, 0);
    for _ in 0..100 {
        let mut records: Vec<(Vec<u8>, bool)> = Vec::new();
        for _ in 0..40 {
            let mut bytes = random_message(&oracle, &mut random).encode_to_vec();
            if random.below(3) == 0 {
                // Two messages one after the other are one, merged.
                bytes.extend(random_message(&oracle, &mut random).encode_to_vec());
            }
            let mutations = if bytes.is_empty() { 0 } else { random.below(4) };
            (0..mutations).for_each(|_| mutate(&mut bytes, &mut random));
            records.push((bytes, mutations == 0));
        }
        let values: Vec<_> = records.iter().map(|(bytes, _)| Some(bytes.as_slice())).collect();
        let decoded = decoder.decode(&values);
        let mut rejected = decoded.rejected.iter().peekable();
        let mut row = 0;
        for (index, (bytes, is_whole)) in records.iter().enumerate() {
            let expected = DynamicMessage::decode(oracle.clone(), bytes.as_slice());
            if let Some(why) = rejected.next_if(|r| r.row == index) {
                assert!(!is_whole, "{why:?} {bytes:?}");
                // Entries of a map with another wire type are unknown fields to the library.
                let of_map = why.message.starts_with("field `m") && why.message.contains("has wire type");
                let stricter = of_map || why.message.contains("no timestamp");
                assert!(expected.is_err() || stricter, "{why:?} {bytes:?}");
                refused += 1;
                continue;
            }
            let message = expected.unwrap_or_else(|e| panic!("accepted what prost refuses ({e}): {bytes:?}"));
            for field in oracle.fields() {
                let column = decoded.batch.column_by_name(field.name()).expect("a column");
                let found = same_field(column, row, &message, &field);
                assert!(
                    found,
                    "{}: {:?} is not {column:?} at {row}",
                    field.name(),
                    message.get_field(&field)
                );
            }
            row += 1;
            if *is_whole { whole += 1 } else { accepted += 1 }
        }
        assert_eq!(row, decoded.batch.num_rows());
    }
    assert!(whole > 800 && accepted > 300 && refused > 800, "{whole} {accepted} {refused}");
}

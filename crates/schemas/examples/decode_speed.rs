//! Prints how fast trades of about 150 bytes of JSON are decoded from each format: rows and megabytes per second on one
//! core.
//!
//! `cargo run --release -p schemas --example decode_speed [rows]`

use std::time::Instant;

use schemas::{DecodeOptions, Decoder, RegisteredSchema, ResolvedSchema, SchemaType, encode_rows};

const JSON: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{
    "trade_id":{"type":"string"},"symbol":{"type":"string"},"price":{"type":"number"},"qty":{"type":"integer"},
    "side":{"type":"string","enum":["BUY","SELL"]},"ts_event":{"type":"string","format":"date-time"},
    "notes":{"type":["string","null"]}},
    "required":["trade_id","symbol","price","qty","side","ts_event"]}"#;

const AVRO: &str = r#"{"type":"record","name":"Trade","fields":[
    {"name":"trade_id","type":"string"},{"name":"symbol","type":"string"},{"name":"price","type":"double"},
    {"name":"qty","type":"long"},{"name":"side","type":{"type":"enum","name":"Side","symbols":["BUY","SELL"]}},
    {"name":"ts_event","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"notes","type":["null","string"]}]}"#;

const PROTOBUF: &str = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
    message Trade { string trade_id = 1; string symbol = 2; double price = 3; int64 qty = 4; Side side = 5;
        google.protobuf.Timestamp ts_event = 6; optional string notes = 7; enum Side { BUY = 0; SELL = 1; } }"#;

const SYMBOLS: [&str; 8] = ["AAPL", "GOOGL", "MSFT", "AMZN", "TSLA", "META", "BRK.B", "NVDA"];

/// Seconds of 2024-05-01.
const DAY: u64 = 1_714_521_600;

struct Trade {
    trade_id: String,
    symbol: &'static str,
    cents: u64,
    qty: u64,
    sells: bool,
    /// Since the start of the day.
    micros: u64,
    notes: Option<&'static str>,
}

fn trade(state: &mut u64) -> Trade {
    let mut next = |limit: u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % limit
    };
    Trade {
        notes: (next(10) == 0).then_some("block trade"),
        trade_id: format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            next(1 << 32),
            next(1 << 16),
            next(1 << 12),
            next(1 << 12),
            next(1 << 48)
        ),
        symbol: SYMBOLS[next(8) as usize],
        cents: 5_000 + next(45_000),
        qty: 1 + next(1000),
        sells: next(2) == 0,
        micros: next(86_400_000_000),
    }
}

fn json(trade: &Trade) -> Vec<u8> {
    let notes = trade.notes.map(|notes| format!(r#","notes":"{notes}""#)).unwrap_or_default();
    let seconds = trade.micros / 1_000_000;
    format!(
        r#"{{"trade_id":"{}","symbol":"{}","price":{}.{:02},"qty":{},"side":"{}","ts_event":"2024-05-01T{:02}:{:02}:{:02}.{:06}Z"{notes}}}"#,
        trade.trade_id,
        trade.symbol,
        trade.cents / 100,
        trade.cents % 100,
        trade.qty,
        if trade.sells { "SELL" } else { "BUY" },
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        trade.micros % 1_000_000,
    )
    .into_bytes()
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn avro(trade: &Trade) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |text: &str, out: &mut Vec<u8>| {
        varint(text.len() as u64 * 2, out);
        out.extend_from_slice(text.as_bytes());
    };
    text(&trade.trade_id, &mut out);
    text(trade.symbol, &mut out);
    out.extend_from_slice(&(trade.cents as f64 / 100.0).to_le_bytes());
    varint(trade.qty * 2, &mut out);
    out.push(if trade.sells { 2 } else { 0 });
    varint((DAY * 1_000_000 + trade.micros) * 2, &mut out);
    match trade.notes {
        None => out.push(0),
        Some(notes) => {
            out.push(2);
            text(notes, &mut out);
        }
    }
    out
}

fn protobuf(trade: &Trade) -> Vec<u8> {
    let mut out = Vec::new();
    let sized = |number: u8, bytes: &[u8], out: &mut Vec<u8>| {
        out.push(number << 3 | 2);
        varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    sized(1, trade.trade_id.as_bytes(), &mut out);
    sized(2, trade.symbol.as_bytes(), &mut out);
    out.push(3 << 3 | 1);
    out.extend_from_slice(&(trade.cents as f64 / 100.0).to_le_bytes());
    out.push(4 << 3);
    varint(trade.qty, &mut out);
    if trade.sells {
        out.extend_from_slice(&[5 << 3, 1]);
    }
    let mut moment = vec![1 << 3];
    varint(DAY + trade.micros / 1_000_000, &mut moment);
    moment.push(2 << 3);
    varint(trade.micros % 1_000_000 * 1000, &mut moment);
    sized(6, &moment, &mut out);
    if let Some(notes) = trade.notes {
        sized(7, notes.as_bytes(), &mut out);
    }
    out
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |arg| arg.parse())?;
    let mut state = 42;
    let trades: Vec<Trade> = (0..rows).map(|_| trade(&mut state)).collect();
    let encoders: [(SchemaType, &str, fn(&Trade) -> Vec<u8>); 3] = [
        (SchemaType::Json, JSON, json),
        (SchemaType::Avro, AVRO, avro),
        (SchemaType::Protobuf, PROTOBUF, protobuf),
    ];
    for (schema_type, schema, encode) in encoders {
        let schema = RegisteredSchema { id: 1, schema_type, schema: schema.into(), references: Vec::new() };
        let decoder = Decoder::new(&ResolvedSchema::alone(schema), &DecodeOptions::default())?;
        let encoded: Vec<Vec<u8>> = trades.iter().map(encode).collect();
        let bytes: usize = encoded.iter().map(Vec::len).sum();
        let values: Vec<_> = encoded.iter().map(|value| Some(value.as_slice())).collect();
        let mut batches = Vec::new();
        for round in 0..3 {
            batches.clear();
            let started = Instant::now();
            batches.extend(values.chunks(8192).map(|chunk| decoder.decode(chunk)));
            report(&format!("decode {schema_type:?}, round {round}"), rows, bytes, started);
        }
        let decoded: usize = batches.iter().map(|d| d.batch.num_rows()).sum();
        println!("{decoded} of {rows} rows accepted");
        if schema_type == SchemaType::Json {
            let started = Instant::now();
            for decoded in &batches {
                encode_rows(&decoded.batch)?;
            }
            report("encode Json", rows, bytes, started);
        }
    }
    Ok(())
}

fn report(what: &str, rows: usize, bytes: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {:.2} M rows/s, {:.0} MB/s", rows as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
}

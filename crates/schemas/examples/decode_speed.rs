//! Prints how fast trades of about 150 bytes are decoded: rows and megabytes per second on one core.
//!
//! `cargo run --release -p schemas --example decode_speed [rows]`

use std::time::Instant;

use schemas::{DecodeOptions, Decoder, RegisteredSchema, ResolvedSchema, SchemaType, encode_rows};

const SCHEMA: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{
    "trade_id":{"type":"string"},"symbol":{"type":"string"},"price":{"type":"number"},"qty":{"type":"integer"},
    "side":{"type":"string","enum":["BUY","SELL"]},"ts_event":{"type":"string","format":"date-time"},
    "notes":{"type":["string","null"]}},
    "required":["trade_id","symbol","price","qty","side","ts_event"]}"#;

const SYMBOLS: [&str; 8] = ["AAPL", "GOOGL", "MSFT", "AMZN", "TSLA", "META", "BRK.B", "NVDA"];

fn trade(state: &mut u64) -> String {
    let mut next = |limit: u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % limit
    };
    let notes = if next(10) == 0 { r#","notes":"block trade""# } else { "" };
    format!(
        r#"{{"trade_id":"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}","symbol":"{}","price":{}.{:02},"qty":{},"side":"{}","ts_event":"2024-05-01T{:02}:{:02}:{:02}.{:06}Z"{notes}}}"#,
        next(1 << 32),
        next(1 << 16),
        next(1 << 12),
        next(1 << 12),
        next(1 << 48),
        SYMBOLS[next(8) as usize],
        50 + next(450),
        next(100),
        1 + next(1000),
        if next(2) == 0 { "BUY" } else { "SELL" },
        next(24),
        next(60),
        next(60),
        next(1_000_000),
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |arg| arg.parse())?;
    let schema = RegisteredSchema {
        id: 1,
        schema_type: SchemaType::Json,
        schema: SCHEMA.into(),
        references: Vec::new(),
    };
    let decoder = Decoder::new(&ResolvedSchema::alone(schema), &DecodeOptions::default())?;
    let mut state = 42;
    let trades: Vec<String> = (0..rows).map(|_| trade(&mut state)).collect();
    let bytes: usize = trades.iter().map(String::len).sum();
    let values: Vec<_> = trades.iter().map(|t| Some(t.as_bytes())).collect();
    let mut batches = Vec::new();
    for round in 0..3 {
        batches.clear();
        let started = Instant::now();
        batches.extend(values.chunks(8192).map(|chunk| decoder.decode(chunk)));
        report(&format!("decode, round {round}"), rows, bytes, started);
    }
    let decoded: usize = batches.iter().map(|d| d.batch.num_rows()).sum();
    let started = Instant::now();
    for decoded in &batches {
        encode_rows(&decoded.batch)?;
    }
    report("encode", rows, bytes, started);
    println!("{decoded} of {rows} rows accepted");
    Ok(())
}

fn report(what: &str, rows: usize, bytes: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {:.2} M rows/s, {:.0} MB/s", rows as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
}

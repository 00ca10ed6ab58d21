//! Trades out of a seed.
//!
//! Owns: the fields of a trade, their ranges, their JSON.
//! Does not own: where they go.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::random::Random;

/// The traded symbols.
pub const SYMBOLS: [&str; 8] = ["AAPL", "GOOGL", "MSFT", "AMZN", "TSLA", "META", "BRK.B", "NVDA"];

const NOTES: [&str; 5] =
    ["block trade", "opening auction", "stop loss", "rebalancing \"Q3\"", "après-vente: 5 % über Markt"];

/// 2026-01-05T14:30:00Z, the first opening bell of that year: µs since 1970-01-01.
const OPENING_US: i64 = 1_767_623_400_000_000;

/// One trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    pub trade_id: uuid::Uuid,
    pub symbol: &'static str,
    /// Hundredths.
    pub price_cents: u64,
    pub qty: u64,
    pub side: &'static str,
    /// µs since 1970-01-01 UTC.
    pub ts_event_us: i64,
    pub notes: Option<&'static str>,
}

impl Trade {
    /// One JSON object, without line end; optional fields are left out.
    pub fn json(&self) -> String {
        let mut out = String::with_capacity(176);
        let (whole, cents) = (self.price_cents / 100, self.price_cents % 100);
        let Self { trade_id, symbol, qty, side, .. } = self;
        let ts = timestamp(self.ts_event_us);
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r#"{{"trade_id":"{trade_id}","symbol":"{symbol}","price":{whole}.{cents:02},"qty":{qty},"side":"{side}","ts_event":"{ts}""#
        );
        if let Some(notes) = self.notes {
            let _ = write!(out, r#","notes":{}"#, serde_json::Value::from(notes));
        }
        out.push('}');
        out
    }
}

fn timestamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us)
        .map_or_else(String::new, |t| t.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// Endless trades of a seed.
#[derive(Debug, Clone)]
pub struct Trades {
    random: Random,
    now_us: i64,
}

impl Trades {
    pub fn seeded(seed: u64) -> Self {
        Self { random: Random::seeded(seed), now_us: OPENING_US }
    }
}

impl Iterator for Trades {
    type Item = Trade;

    fn next(&mut self) -> Option<Trade> {
        let random = &mut self.random;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random.bits().to_be_bytes());
        id[8..].copy_from_slice(&random.bits().to_be_bytes());
        self.now_us += random.between(1, 2_000).cast_signed();
        Some(Trade {
            // Sets the bits of version 4.
            trade_id: uuid::Builder::from_random_bytes(id).into_uuid(),
            symbol: random.choose(&SYMBOLS),
            price_cents: random.between(5_000, 49_995),
            qty: random.between(1, 1_000),
            side: random.choose(&["BUY", "SELL"]),
            ts_event_us: self.now_us,
            notes: (random.between(0, 7) == 0).then(|| random.choose(&NOTES)),
        })
    }
}

/// What the analytics of some trades must be, counted without SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub trade_count: u64,
    pub price_cents: u64,
    pub min_cents: u64,
    pub max_cents: u64,
    pub total_volume: u64,
    pub buy_count: u64,
}

/// Per symbol, sorted.
pub fn expected(trades: impl Iterator<Item = Trade>) -> BTreeMap<&'static str, Expected> {
    let mut all: BTreeMap<&'static str, Expected> = BTreeMap::new();
    for trade in trades {
        all.entry(trade.symbol).or_default().add(&trade);
    }
    all
}

impl Expected {
    /// Counts one more trade.
    pub fn add(&mut self, trade: &Trade) {
        self.min_cents =
            if self.trade_count == 0 { trade.price_cents } else { self.min_cents.min(trade.price_cents) };
        self.max_cents = self.max_cents.max(trade.price_cents);
        self.trade_count += 1;
        self.price_cents += trade.price_cents;
        self.total_volume += trade.qty;
        self.buy_count += u64::from(trade.side == "BUY");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a, 64 bits.
    fn hash(bytes: &[u8], seed: u64) -> u64 {
        bytes.iter().fold(seed, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn a_seed_gives_the_same_trades_for_ever() {
        let digest = |seed| {
            Trades::seeded(seed)
                .take(1_000)
                .fold(0xcbf2_9ce4_8422_2325, |h, trade| hash(trade.json().as_bytes(), h))
        };
        assert_eq!(digest(42), 0xba76_e439_7db0_8556, "digest: {:#x}", digest(42));
        assert_ne!(digest(42), digest(43));
    }

    #[test]
    fn trades_are_as_described() {
        let mut notes = 0;
        let mut last = OPENING_US;
        for trade in Trades::seeded(1).take(10_000) {
            let json: serde_json::Value = serde_json::from_str(&trade.json()).expect("JSON");
            assert_eq!(trade.trade_id.get_version_num(), 4);
            let price = json["price"].as_f64().expect("price");
            assert!((50.0..=499.95).contains(&price), "{price}");
            assert!((1..=1_000).contains(&json["qty"].as_u64().expect("qty")));
            assert!(SYMBOLS.contains(&json["symbol"].as_str().expect("symbol")));
            assert!(matches!(json["side"].as_str(), Some("BUY" | "SELL")));
            let time = json["ts_event"].as_str().expect("ts_event");
            assert!(time.starts_with("2026-01-05T14:") && time.len() == 27 && time.ends_with('Z'), "{time}");
            assert!(trade.ts_event_us > last);
            last = trade.ts_event_us;
            notes += usize::from(!json["notes"].is_null());
        }
        assert!((900..1_600).contains(&notes), "{notes} of 10,000 have notes");
    }

    #[test]
    fn expectations_are_counted() {
        let all = expected(Trades::seeded(42).take(5_000));
        assert_eq!(all.len(), 8);
        assert_eq!(all.values().map(|e| e.trade_count).sum::<u64>(), 5_000);
        assert!(all.values().all(|e| e.min_cents >= 5_000 && e.max_cents <= 49_995));
    }
}

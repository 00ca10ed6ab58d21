//! The demonstration: generated trades through every door of a node, every count checked.
//!
//! Owns: the generator, the schemas and queries of the demonstration, its steps and their checklist.
//! Does not own: the node (it is talked to through its open protocols only).
//! Invariants: the same seed gives the same trades and the same analytics, byte for byte; a step that finds a wrong
//! count fails the whole.

pub mod random;
pub mod steps;
pub mod trades;

pub use steps::{Report, Step, run};
pub use trades::{Trade, Trades};

/// What the demonstration is run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many trades.
    pub rows: u64,
    pub seed: u64,
}

/// The topic of the trades and of what is found out about them.
pub const TRADES: &str = "trades";
pub const ANALYTICS: &str = "trade_analytics";

/// Their JSON schemas.
pub const TRADES_SCHEMA: &str = include_str!("demo/trades.schema.json");
pub const ANALYTICS_SCHEMA: &str = include_str!("demo/trade_analytics.schema.json");

/// What is found out: one row per symbol, in an order and with decimals that do not depend on the order of the input.
pub const ANALYTICS_SQL: &str = include_str!("demo/trade_analytics.sql");

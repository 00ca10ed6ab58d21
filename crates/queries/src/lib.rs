//! SQL over hot (log) and cold (Iceberg) data.
//!
//! Owns: topic rows (the one decoding of a topic into table columns), sessions, the hot+cold table, the Postgres
//! catalog; the only crate that knows DataFusion.
//! Does not own: the Postgres wire protocol; executing commands (they are parsed here and handed up).
//! Invariants: a statement sees one ReadView: one cut, and per table one snapshot; nothing here writes anything.

pub mod engine;
pub mod error;
#[cfg(test)]
mod fixture;
mod hybrid;
pub mod mode;
pub mod pg_catalog;
mod read_view;
pub mod relations;
pub mod rows;
pub mod session;
mod statement;

pub use engine::{Deps, Engine, Settings};
pub use error::SqlError;
pub use mode::IcebergMode;
pub use pg_catalog::SERVER_VERSION;
pub use read_view::Freshness;
pub use rows::{DecodedRows, RejectedRecord, RowsError, SchemaSwitches, TopicRows, Unseen};
pub use session::{Answer, Command, Description, InputRead, RowStream, Session, SessionSettings, Value};

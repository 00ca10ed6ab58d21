//! Iceberg tables: catalog, writers, the exactly-once commit, scans.
//!
//! Owns: namespaces and tables, one commit path for us and for guests, Parquet files, progress in snapshots.
//! Does not own: the log; Kafka; SQL.
//! Invariants: a commit is one conditional write; its progress lies in the snapshot it makes; every file that a
//! commit names is durable before the commit; files are never deleted after an unknown outcome.

mod cache;
pub mod catalog;
pub mod columns;
pub mod commit;
pub mod failpoints;
#[cfg(test)]
mod fixture;
mod leases;
pub mod maintenance;
mod manifests;
pub mod partitioning;
pub mod progress;
pub mod read;
pub mod replay;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod scan;
pub mod settings;
mod turns;
pub mod writer;

pub use catalog::{CatalogError, NewTable, SnapshotInfo, Table, TableIdent, Tables};
pub use commit::{CommitError, CommitOutcome};
pub use progress::{Account, Advance, Fates, Position, Progress, Recorded, SourceId};
pub use replay::{Offsets, Replay, Replays};
pub use scan::{Scan, ScanFile};
pub use settings::Settings;
pub use writer::{StagedFiles, TableWriter, WriteError};

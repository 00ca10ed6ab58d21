//! The vocabulary every crate shares, and the plumbing of the process.
//!
//! Owns: names and ids, the clock, supervised tasks, the kinds of fault, units for settings.
//! Does not own: I/O of any sort, product rules, wire formats.
//! Invariants: depends on none of our crates; everything here could be used by all of them.

pub mod clock;
pub mod fault;
pub mod ids;
pub mod tasks;
pub mod units;

pub use clock::{Clock, SharedClock, SystemClock};
pub use fault::{ErrorKind, Fault};
pub use ids::{LogId, Offset, PartitionId, SchemaId, TopicId, TopicName};
pub use tasks::{Shutdown, StopPhase, Supervisor, TaskKind};

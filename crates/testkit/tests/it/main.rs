//! Whole nodes, judged from outside.

mod catalog_commits;
mod compaction;
mod evolution;
mod filters;
mod groups;
mod guests;
mod guide;
mod hostile;
mod incarnations;
mod kill;
mod limits;
mod many_tables;
mod power_cut;
mod registry;
mod round_trip;
mod stalled;
mod storm;
mod transactions;
mod types;
mod world;

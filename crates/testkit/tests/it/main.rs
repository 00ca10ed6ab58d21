//! Whole nodes, judged from outside.

mod catalog_commits;
mod evolution;
mod groups;
mod guests;
mod guide;
mod hostile;
mod incarnations;
mod kill;
mod limits;
mod power_cut;
mod round_trip;
mod transactions;
mod types;
mod world;

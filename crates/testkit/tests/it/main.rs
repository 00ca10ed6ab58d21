//! Whole nodes, judged from outside.

mod groups;
mod hostile;
mod incarnations;
mod kill;
mod limits;
mod power_cut;
mod round_trip;
mod transactions;
mod world;

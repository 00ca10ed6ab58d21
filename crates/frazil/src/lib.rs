//! Frazil: a streaming lakehouse in one binary.
//!
//! Owns: the composition of a node, its configuration, the command line.
//! Does not own: logic of any part; here parts are only put together.
//! Invariants: a node is opened from the bottom up and stopped from the top down; commands talk to a node only through
//! the protocols that anybody else would use.

pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod node;
pub mod output;
pub mod progress;
mod properties;
pub mod remote;
pub mod telemetry;

pub use node::{Endpoints, Listeners, Node, NodeSettings, Ports};

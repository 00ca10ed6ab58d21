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

use std::process::ExitCode;

use clap::Parser;

/// The program: reads the command line, runs one command, turns its outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(commands::run(cli));
    // A thread that waits for a terminal must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(commands::exit_code(outcome))
}

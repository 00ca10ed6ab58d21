//! The program `frazil`: reads the command line, runs one command, turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use frazil::cli::Cli;

/// Many small allocations from many threads, and a limit on how far a hostile length can get.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(frazil::commands::run(cli));
    // A thread that waits for a terminal must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(frazil::commands::exit_code(outcome))
}

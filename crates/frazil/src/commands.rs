//! The commands, and what their outcome means to the shell.
//!
//! Owns: exit codes: 0 done, 1 failed, 2 wrong usage, 4 no node answers, 130 interrupted.
//! Does not own: flags (`cli`), the protocols (`remote`).

pub mod demo;
pub mod pipeline;
pub mod produce;
pub mod registry;
pub mod sql;
pub mod status;
pub mod table;
pub mod topic;
pub mod up;
mod upkeep;
pub mod validate;

mod template;

use crate::cli::{Cli, Command};
use crate::remote::{Remote, Unreachable};
use crate::telemetry;

/// Stopped by Ctrl-C before it was done.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Used wrongly in a way that the parser of flags cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Ports end at 65535.
pub(crate) fn port_offset_too_large(offset: u16) -> Usage {
    Usage(format!("--port-offset {offset} leaves the range of ports"))
}

/// Runs one command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let global = cli.global;
    let remote = || Remote::from_flags(&global);
    // `up` reads its configuration first, which may set the level.
    if !matches!(cli.command, Command::Up(_)) {
        telemetry::init(global.log_level.as_deref().unwrap_or("warn"))?;
    }
    match cli.command {
        Command::Up(args) => up::run(args, &global).await,
        Command::Demo(args) => demo::run(args, &global).await,
        Command::Validate(args) => validate::run(&args),
        Command::Sql(args) => sql::run(args, &remote()?).await,
        Command::Topic(command) => topic::run(command, &remote()?).await,
        Command::Table(command) => table::run(command, &remote()?).await,
        Command::Pipeline(command) => pipeline::run(command, &remote()?).await,
        Command::Registry(command) => registry::run(command, &remote()?).await,
        Command::Status(args) => status::run(args.output, &remote()?).await,
    }
}

/// Prints an error and returns the exit code of an outcome.
pub fn exit_code(outcome: anyhow::Result<()>) -> u8 {
    let Err(error) = outcome else { return 0 };
    if is_broken_pipe(&error) {
        // `frazil … | head`: the reader has what it wants.
        return 0;
    }
    if error.is::<Interrupted>() {
        return 130;
    }
    eprintln!("error: {error:#}");
    if error.is::<Unreachable>() || is_unreachable_cluster(&error) {
        4
    } else if error.is::<Usage>() {
        2
    } else {
        1
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

fn is_unreachable_cluster(error: &anyhow::Error) -> bool {
    use topics::cluster::ClusterError;
    matches!(error.downcast_ref::<ClusterError>(), Some(ClusterError::Unreachable { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_codes() {
        let unreachable = Unreachable { what: "SQL", address: "x".into(), reason: "refused".into() };
        assert_eq!(exit_code(Ok(())), 0);
        assert_eq!(exit_code(Err(anyhow::anyhow!("no"))), 1);
        assert_eq!(exit_code(Err(Usage("no".into()).into())), 2);
        assert_eq!(exit_code(Err(anyhow::Error::new(unreachable).context("asking"))), 4);
        assert_eq!(exit_code(Err(Interrupted.into())), 130);
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(exit_code(Err(anyhow::Error::new(pipe).context("printing"))), 0);
    }
}

//! `frazil up`: a node until it is told to stop.

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Global, UpArgs};
use crate::config::Config;
use crate::node::{Endpoints, Node, NodeSettings, Ports};
use crate::telemetry;

pub(super) async fn run(args: UpArgs, global: &Global) -> anyhow::Result<()> {
    let config = match &args.file {
        Some(file) => Config::load(file)?,
        None => Config::default(),
    };
    let level = global.log_level.as_deref().or(config.log_level.as_deref()).unwrap_or("info");
    telemetry::init(level)?;
    let mut stop = StopSignals::listen()?;
    let ports = Ports::default()
        .configured(&config.listen)
        .shifted(global.port_offset)
        .ok_or_else(|| super::port_offset_too_large(global.port_offset))?;
    let node = Node::start(NodeSettings {
        host: args.listen,
        ports,
        config,
        ..NodeSettings::new(args.data_dir.clone())
    })
    .await?;
    print_endpoints(node.endpoints(), &args);
    let failed = tokio::select! {
        () = stop.wait() => false,
        () = node.failed() => true,
    };
    eprintln!("stopping; a second signal stops at once");
    let stopping = node.stop();
    tokio::select! {
        stopped = stopping => stopped?,
        () = stop.wait() => return Err(super::Interrupted.into()),
    }
    if failed {
        bail!("the node stopped because a part of it failed; the log lines above say which");
    }
    Ok(())
}

fn print_endpoints(endpoints: &Endpoints, args: &UpArgs) {
    println!("frazil {} is up, data in {}", env!("CARGO_PKG_VERSION"), args.data_dir.display());
    for (name, address) in endpoints.list() {
        println!("  {name:<22}{address}");
    }
}

/// SIGINT and SIGTERM.
pub(super) struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves with the next signal.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

//! `frazil demo`: a node of its own, the demonstration, the checklist.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use super::Interrupted;
use super::up::StopSignals;
use crate::cli::{DemoArgs, Global};
use crate::demo::{self, Report, Settings};
use crate::node::{Listeners, Node, NodeSettings, PortTaken, Ports};
use crate::output::{self, Format};
use crate::progress::Progress;
use crate::remote::Remote;

/// Distance between two tries for free ports.
const OFFSET_STEP: u16 = 100;

pub(super) async fn run(args: DemoArgs, global: &Global) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    let place = Place::of(args.data_dir.clone())?;
    let started = Instant::now();
    let (offset, node) = start(place.path(), global.port_offset).await?;
    let ready = started.elapsed();
    eprintln!("a node is up after {} ms, data in {}", ready.as_millis(), place.path().display());
    let remote = Remote::of(node.endpoints());
    let progress = Progress::on_terminal();
    let settings = Settings { rows: args.rows, seed: args.seed };
    let outcome = tokio::select! {
        outcome = demo::run(&remote, settings, &progress) => outcome,
        () = stop.wait() => Err(Interrupted.into()),
        () = node.failed() => Err(anyhow::anyhow!("a part of the node failed; the log lines above say which")),
    };
    progress.clear();
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            node.stop().await?;
            return Err(error);
        }
    };
    print_report(&report, ready)?;
    println!("\nAll counts agree, in {:.1} s.\n", started.elapsed().as_secs_f64());
    if args.keep {
        print_next(place.path(), offset, true);
        eprintln!("\nthe node is running; Ctrl-C stops it");
        tokio::select! {
            () = stop.wait() => {}
            () = node.failed() => anyhow::bail!("a part of the node failed; the log lines above say which"),
        }
        return node.stop().await;
    }
    node.stop().await?;
    match &place {
        Place::Chosen(path) => print_next(path, offset, false),
        Place::Temporary(path) => {
            println!("The data lay in {} and goes with this demonstration. To look around:", path.display());
            println!("  frazil demo --keep                    leaves the node running");
            println!("  frazil demo --data-dir ./demo-data    keeps the data for `frazil up`");
        }
    }
    Ok(())
}

/// The first offset from `least` up at which all ports are free; binding is the only test that holds.
async fn start(data_dir: &Path, least: u16) -> anyhow::Result<(u16, Node)> {
    let settings = NodeSettings::new(data_dir);
    let mut taken = None;
    for offset in (least..=u16::MAX).step_by(usize::from(OFFSET_STEP)) {
        let Some(ports) = Ports::default().shifted(offset) else {
            break;
        };
        match Listeners::bind(settings.host, ports) {
            Ok(listeners) => return Ok((offset, Node::start_on(listeners, settings).await?)),
            Err(error) if error.is::<PortTaken>() => taken = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(taken.unwrap_or_else(|| super::port_offset_too_large(least).into()))
}

fn print_report(report: &Report, ready: std::time::Duration) -> anyhow::Result<()> {
    println!();
    output::print(Format::Table, report.analytics.columns.clone(), report.analytics.rows.clone())?;
    println!();
    println!(" 1. [ok] started a node: {} ms", ready.as_millis());
    for (n, step) in report.steps.iter().enumerate() {
        println!("{:>2}. [ok] {}: {} ms", n + 2, step.done, step.took.as_millis());
        println!("         {}", step.found);
    }
    Ok(())
}

fn print_next(data_dir: &Path, offset: u16, running: bool) {
    let flag = if offset == 0 { String::new() } else { format!(" --port-offset {offset}") };
    let ports = Ports::default().shifted(offset).unwrap_or_default();
    println!("The data lies in {}:", data_dir.display());
    println!("  warehouse/    Iceberg tables: metadata and Parquet files, readable by any engine");
    println!("  log/          Kafka segments");
    println!("What to try next:");
    if !running {
        println!("  frazil up --data-dir {}{flag}", data_dir.display());
    }
    println!("  frazil status{flag}");
    println!("  frazil sql{flag} -c 'SELECT symbol, count(*) FROM trades GROUP BY symbol ORDER BY symbol'");
    println!("  frazil topic consume trade_analytics{flag} -e");
    println!("  frazil table snapshots trades{flag}");
    println!("  psql -h 127.0.0.1 -p {} -U frazil -c '\\dt'", ports.postgres);
    println!("  kcat -b 127.0.0.1:{} -t trades -C -c 3", ports.kafka);
    println!(
        "  duckdb -c \"INSTALL iceberg; LOAD iceberg; ATTACH '' AS lake (TYPE iceberg, ENDPOINT \
         'http://127.0.0.1:{}', AUTHORIZATION_TYPE 'none'); SELECT count(*) FROM lake.public.trades\"",
        ports.catalog
    );
}

/// Where the demonstration keeps its data.
enum Place {
    /// Stays.
    Chosen(PathBuf),
    /// Removed at the end.
    Temporary(PathBuf),
}

impl Place {
    fn of(chosen: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = chosen {
            let used = path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
            anyhow::ensure!(
                !used,
                "{} is not empty: the demonstration needs a new or empty directory",
                path.display()
            );
            return Ok(Self::Chosen(path));
        }
        let path = std::env::temp_dir().join(format!("frazil-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self::Temporary(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Chosen(path) | Self::Temporary(path) => path,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self {
            // What cannot be removed is in the temporary directory, where it does no harm.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

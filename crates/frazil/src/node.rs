//! The composition root: a node from the bottom up.
//!
//! Owns: the order of opening and stopping, the two runtimes.
//! Does not own: any logic of the parts.
//! Invariants: all ports are bound before anything is opened, so that a conflict touches nothing; the configuration is
//! in effect before the first client is answered; after `stop` the data directory is free again.

mod apply;
mod descriptors;
mod listen;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base::{SharedClock, Supervisor, SystemClock};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::config::Config;

pub use listen::{Endpoints, Listeners, PortTaken, Ports};

/// How long each phase of stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Stack of a worker thread, bytes. SQL is parsed and planned recursively, and the default of 2 MiB overflows on what
/// ordinary clients send to an unoptimised build; only pages that are touched take memory.
const THREAD_STACK_BYTES: usize = 16 << 20;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    pub data_dir: PathBuf,
    /// Address of all doors; only loopback is allowed, since all but Kafka's have no authentication.
    pub host: IpAddr,
    pub ports: Ports,
    /// Put into effect at start.
    pub config: Config,
    /// Threads of the compute runtime: decoding, Parquet, queries.
    pub compute_threads: usize,
    pub log: topics::Settings,
    pub tables: tables::Settings,
    pub queries: queries::Settings,
    /// Of the Kafka door.
    pub limits: gateway::admission::Limits,
    /// Connections that each of the other doors takes at most.
    pub other_connections_max: usize,
}

impl NodeSettings {
    /// Defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            data_dir: data_dir.into(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::default(),
            config: Config::default(),
            compute_threads: cores,
            log: topics::Settings::default(),
            tables: tables::Settings::default(),
            queries: queries::Settings { target_partitions: cores, ..Default::default() },
            other_connections_max: gateway::admission::Limits::default().connections_max,
            limits: gateway::admission::Limits::default(),
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    endpoints: Endpoints,
    supervisor: Supervisor,
    parts: Option<Parts>,
    runtimes: Option<Runtimes>,
}

/// Everything between the disk and the doors, from the bottom up.
#[derive(Debug, Clone)]
struct Parts {
    access: access::Access,
    topics: topics::Topics,
    registry: schemas::Registry,
    tables: tables::Tables,
    engine: queries::Engine,
    commands: pipelines::Commands,
    clock: SharedClock,
}

/// Doors and log on one runtime, heavy work on the other, so that no query delays an acknowledgement.
#[derive(Debug)]
struct Runtimes {
    doors: Runtime,
    compute: Runtime,
}

impl Node {
    /// Binds the ports, opens the data directory, puts the configuration into effect, opens the doors.
    pub async fn start(settings: NodeSettings) -> anyhow::Result<Self> {
        let kafka = settings.config.listen.kafka_address.as_ref().map(|(address, _)| *address);
        if let Some(address) = kafka {
            tracing::warn!(%address, "the Kafka door listens beyond this machine, without TLS: what passes can be read");
        }
        let listeners =
            Listeners::bind_kafka_on(kafka.unwrap_or(settings.host), settings.host, settings.ports)?;
        Self::start_on(listeners, settings).await
    }

    /// The same on ports that are bound already.
    pub async fn start_on(listeners: Listeners, mut settings: NodeSettings) -> anyhow::Result<Self> {
        descriptors::fit(&mut settings)?;
        let runtimes = Runtimes::build(settings.compute_threads)?;
        let supervisor = Supervisor::new(runtimes.doors.handle().clone());
        let mut node = Self {
            endpoints: listeners.endpoints().clone(),
            supervisor: supervisor.clone(),
            parts: None,
            runtimes: None,
        };
        let compute = runtimes.compute.handle().clone();
        let opening = runtimes.doors.spawn(open(settings, listeners, supervisor, compute));
        node.runtimes = Some(runtimes);
        match opening.await.context("opening the node broke off").and_then(|opened| opened) {
            Ok(parts) => {
                node.parts = Some(parts);
                Ok(node)
            }
            Err(error) => {
                node.stop().await?;
                Err(error)
            }
        }
    }

    /// Where the doors listen.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Resolves when a part has failed without which the node cannot go on.
    pub async fn failed(&self) {
        self.supervisor.critical_failure().await;
    }

    /// Doors stop accepting, pipelines finish their unit, the log seals.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.supervisor.stop(STOP_LIMIT).await;
        let closed = match self.parts.take() {
            Some(parts) => parts.topics.close().await.context("cannot close the log"),
            None => Ok(()),
        };
        if let Some(runtimes) = self.runtimes.take() {
            tokio::task::spawn_blocking(move || runtimes.shut_down()).await?;
        }
        closed
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtimes) = self.runtimes.take() {
            // Dropping a runtime waits for its threads, which an async caller must not.
            runtimes.doors.shutdown_background();
            runtimes.compute.shutdown_background();
        }
    }
}

impl Runtimes {
    fn build(compute_threads: usize) -> anyhow::Result<Self> {
        let build = |name: &str, threads: usize| {
            Builder::new_multi_thread()
                .thread_name(name)
                .worker_threads(threads.max(1))
                .thread_stack_size(THREAD_STACK_BYTES)
                .enable_all()
                .build()
                .with_context(|| format!("cannot start the {name} threads"))
        };
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self { doors: build("doors", cores)?, compute: build("compute", compute_threads)? })
    }

    fn shut_down(self) {
        self.doors.shutdown_timeout(STOP_LIMIT);
        self.compute.shutdown_timeout(STOP_LIMIT);
    }
}

async fn open(
    settings: NodeSettings,
    listeners: Listeners,
    supervisor: Supervisor,
    compute: Handle,
) -> anyhow::Result<Parts> {
    let config = settings.config.clone();
    let limits = DoorLimits {
        kafka: settings.limits.clone(),
        others: gateway::admission::Limits {
            connections_max: settings.other_connections_max,
            ..settings.limits.clone()
        },
    };
    let security = config.security.clone();
    let parts = open_parts(settings, &supervisor, compute).await?;
    let ready = match apply::apply(&config, &parts.commands, &parts.topics).await {
        Ok(()) => open_doors(listeners, limits, &security, &parts, supervisor.clone()),
        Err(error) => Err(error),
    };
    if let Err(error) = ready {
        // A wrong configuration is no crash: the next start should find the log closed.
        supervisor.stop(STOP_LIMIT).await;
        parts.topics.close().await.context("cannot close the log")?;
        return Err(error);
    }
    Ok(parts)
}

/// The layers, lowest first.
async fn open_parts(
    mut settings: NodeSettings,
    supervisor: &Supervisor,
    compute: Handle,
) -> anyhow::Result<Parts> {
    settings.config.broker.apply(&mut settings.log);
    let mut moving = pipelines::Settings::default();
    settings.config.maintenance.apply(&mut moving.upkeep);
    settings.config.tables.apply(&mut settings.tables);
    settings.config.tables.apply_to_commits(&mut moving);
    let clock: SharedClock = Arc::new(SystemClock);
    let below = {
        let (supervisor, clock, compute) = (supervisor.clone(), Arc::clone(&clock), compute.clone());
        tokio::task::spawn_blocking(move || open_below(settings, &supervisor, clock, compute)).await??
    };
    let (control, access, topics, registry, tables, engine) = below;
    let deps = pipelines::commands::Deps {
        topics: topics.clone(),
        registry: registry.clone(),
        tables: tables.clone(),
        engine: engine.clone(),
        control,
        clock: Arc::clone(&clock),
        supervisor: supervisor.clone(),
        compute,
    };
    let commands = pipelines::Commands::start_with(moving, deps).await?;
    Ok(Parts { access, topics, registry, tables, engine, commands, clock })
}

/// Tables store the places of their files as addresses, in which `..` has no meaning. Links stay as they are: what they
/// point to may move.
fn without_parents(path: PathBuf) -> std::io::Result<PathBuf> {
    if !path.components().any(|part| part == Component::ParentDir) {
        return Ok(path);
    }
    std::fs::create_dir_all(&path)?;
    path.canonicalize()
}

type Below =
    (storage::Control, access::Access, topics::Topics, schemas::Registry, tables::Tables, queries::Engine);

/// What opens with blocking reads: storage, the three strangers above it, queries.
fn open_below(
    settings: NodeSettings,
    supervisor: &Supervisor,
    clock: SharedClock,
    compute: Handle,
) -> anyhow::Result<Below> {
    use storage::layout;
    let users = settings.config.security.clone();
    // storage
    let disk: storage::SharedDisk = Arc::new(storage::RealDisk);
    let data_dir = without_parents(settings.data_dir).context("cannot use the data directory")?;
    let directory = storage::DataDirectory::open(Arc::clone(&disk), &data_dir)?;
    let control = storage::Control::open(directory.disk(), &layout::control_file(directory.path()))?;
    let warehouse = settings.config.tables.warehouse.clone();
    let warehouse = warehouse.unwrap_or_else(|| layout::warehouse_dir(directory.path()));
    let objects = storage::Objects::local(Arc::clone(&disk), warehouse);
    // access | topics | schemas | tables
    let access = access::Access::open(control.clone(), users.access())?;
    users.provide(&access)?;
    users.bootstrap(&access, clock.now_ms())?;
    let topics = topics::Topics::open(
        settings.log,
        topics::embedded::Deps { directory, control: control.clone(), clock: Arc::clone(&clock) },
        supervisor,
    )?;
    let registry = schemas::Registry::open(control.clone())?;
    let tables = tables::Tables::open(
        settings.tables,
        tables::catalog::Deps { objects, control: control.clone(), clock: Arc::clone(&clock) },
    )?;
    // queries
    let engine = queries::Engine::new(
        settings.queries,
        queries::Deps {
            topics: topics.clone(),
            registry: registry.clone(),
            tables: tables.clone(),
            clock,
            compute,
        },
    );
    Ok((control, access, topics, registry, tables, engine))
}

/// Limits of the doors: clients of Kafka hold the most connections.
struct DoorLimits {
    kafka: gateway::admission::Limits,
    others: gateway::admission::Limits,
}

/// The doors, each on its bound sockets.
fn open_doors(
    listeners: Listeners,
    limits: DoorLimits,
    security: &crate::config::SecurityBlock,
    parts: &Parts,
    supervisor: Supervisor,
) -> anyhow::Result<()> {
    use gateway::http::Door;
    let deps = gateway::Deps {
        access: parts.access.clone(),
        authentication: security.authentication,
        topics: parts.topics.clone(),
        registry: parts.registry.clone(),
        tables: parts.tables.clone(),
        engine: parts.engine.clone(),
        commands: parts.commands.clone(),
        supervisor,
        clock: Arc::clone(&parts.clock),
        responses: gateway::admission::ResponseBudget::new(limits.kafka.response_bytes_max),
    };
    let doors = listeners.open(security.advertised_host.clone())?;
    for (listener, listen) in doors.kafka {
        gateway::kafka::serve(listener, listen, limits.kafka.clone(), deps.clone());
    }
    for (listener, listen) in doors.postgres {
        gateway::pgwire::serve(listener, listen, limits.others.clone(), deps.clone());
    }
    for (door, sockets) in
        [(Door::Registry, doors.registry), (Door::Catalog, doors.catalog), (Door::Admin, doors.admin)]
    {
        for (listener, listen) in sockets {
            gateway::http::serve(door, listener, listen, limits.others.clone(), deps.clone());
        }
    }
    Ok(())
}

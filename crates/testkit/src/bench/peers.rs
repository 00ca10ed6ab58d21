//! The brokers that are measured side by side: ours and Apache Kafka, each as a process.
//!
//! Owns: starting and stopping them, what the kernel says of them.
//! Does not own: load.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::process::Ports;

const START_LIMIT: Duration = Duration::from_secs(90);
/// How a Kafka of its own is set up: one node of both roles, everything on loopback, one copy of everything.
const KAFKA_PROPERTIES: &str = "process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
";

/// Who is measured.
#[derive(Debug, Clone)]
pub enum Peer {
    /// The release program.
    Frazil(PathBuf),
    /// Apache Kafka from its jars; `fsync`: it syncs before every acknowledgement (`flush.messages=1`).
    Kafka { jars: PathBuf, fsync: bool },
}

impl Peer {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Frazil(_) => "Frazil, fsync",
            Self::Kafka { fsync: true, .. } => "Kafka, flush.messages=1",
            Self::Kafka { fsync: false, .. } => "Kafka, default (no fsync)",
        }
    }
}

/// A broker that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    port: u16,
    /// From the start of the process to its first answer to a Metadata request.
    pub ready_after: Duration,
}

impl Running {
    /// Starts `peer` on an empty directory `root`.
    pub fn start(peer: &Peer, root: &Path) -> Result<Self> {
        fs::create_dir_all(root)?;
        let log = fs::File::create(root.join("broker.log"))?;
        let (mut command, port) = match peer {
            Peer::Frazil(program) => frazil(program, root)?,
            Peer::Kafka { jars, fsync } => kafka(jars, root, *fsync)?,
        };
        let begun = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let mut running = Self { child, port, ready_after: Duration::ZERO };
        running.wait(begun, root)?;
        Ok(running)
    }

    fn wait(&mut self, begun: Instant, root: &Path) -> Result<()> {
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(root.join("broker.log")).unwrap_or_default();
                bail!("the broker ended with {status}: {log}");
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                let client: BaseConsumer =
                    ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create()?;
                if client.fetch_metadata(None, Duration::from_secs(5)).is_ok_and(|m| !m.brokers().is_empty())
                {
                    self.ready_after = begun.elapsed();
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the broker does not answer after {START_LIMIT:?}")
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Processor time used so far, all threads, user and system.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; what follows it is numbers. Ticks are 1/100 s on Linux.
        let numbers = stat.rsplit(')').next().context("stat")?;
        let mut numbers = numbers.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut next = || Ok::<_, anyhow::Error>(numbers.next().context("stat")??);
        Ok(Duration::from_millis((next()? + next()?) * 10))
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: u64 = text.split_whitespace().nth(1).context("statm")?.parse()?;
        Ok(pages * 4096)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frazil(program: &Path, root: &Path) -> Result<(Command, u16)> {
    let ports = Ports::free()?;
    let mut command = Command::new(program);
    command.arg("up").arg("--data-dir").arg(root.join("data"));
    command.args(["--port-offset", &ports.offset.to_string()]);
    Ok((command, ports.kafka()))
}

fn java(jars: &Path, main: &str, args: &[&str]) -> Command {
    let mut command = Command::new("java");
    // Kafka's own start script gives its broker this heap and collector.
    command.args(["-Xmx1G", "-Xms1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp"]);
    command.arg(format!("{}/*", jars.display())).arg(main).args(args);
    command
}

/// Formats an empty Kafka and gives the command that runs it.
fn kafka(jars: &Path, root: &Path, fsync: bool) -> Result<(Command, u16)> {
    let free = || Ok::<_, anyhow::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    let (port, controller) = (free()?, free()?);
    let mut properties = String::from(KAFKA_PROPERTIES);
    properties += &format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n");
    properties += &format!("controller.quorum.voters=1@127.0.0.1:{controller}\n");
    properties += &format!("log.dirs={}\n", root.join("data").display());
    if fsync {
        properties += "log.flush.interval.messages=1\n";
    }
    let file = root.join("server.properties");
    fs::write(&file, properties)?;
    let file = file.display().to_string();
    let format = java(
        jars,
        "kafka.tools.StorageTool",
        &["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", &file, "--ignore-formatted"],
    )
    .output()
    .context("java is needed to measure Apache Kafka; type: apt-get install -y default-jre-headless")?;
    if !format.status.success() {
        bail!("formatting Kafka's directory: {}", String::from_utf8_lossy(&format.stderr));
    }
    Ok((java(jars, "kafka.Kafka", &[&file]), port))
}

/// Kafka's own `kafka-producer-perf-test`: (records/s, MB/s, p50, p99, p99.9 in ms), as it prints them.
pub fn producer_perf_test(
    jars: &Path,
    bootstrap: &str,
    topic: &str,
    records: u64,
    bytes: usize,
) -> Result<String> {
    let servers = format!("bootstrap.servers={bootstrap}");
    let output = java(
        jars,
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            "--topic",
            topic,
            "--num-records",
            &records.to_string(),
            "--record-size",
            &bytes.to_string(),
            "--throughput",
            "-1",
            "--producer-props",
            &servers,
            "acks=all",
            "linger.ms=5",
            "batch.size=262144",
        ],
    )
    .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().rfind(|line| line.contains("99.9th"));
    last.map(str::to_owned)
        .with_context(|| format!("kafka-producer-perf-test: {}", String::from_utf8_lossy(&output.stderr)))
}

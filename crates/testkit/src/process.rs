//! A node as a process of its own, so that it can be killed.
//!
//! Owns: starting, waiting until ready, kill -9, clean stop.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where a node's doors listen when it was started with a port offset.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub offset: u16,
}

impl Ports {
    /// An offset at which all ports are free now, and that no other test of this process gets. Multiples of 5 never
    /// put one door on another's port; everything stays below the ports that outgoing connections take.
    pub fn free() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..500 {
            let spread = (std::process::id() * 31 + NEXT.fetch_add(1, Ordering::Relaxed)) % 2600;
            let ports = Self { offset: 10_000 + spread as u16 * 5 };
            let all = [ports.kafka(), ports.registry(), ports.catalog(), ports.admin(), ports.postgres()];
            if all.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
                return Ok(ports);
            }
        }
        bail!("no free ports")
    }

    /// Where the doors listen without an offset, if these ports are free: for programs that know no others.
    pub fn standard() -> Result<Self> {
        let ports = Self { offset: 0 };
        for port in [ports.kafka(), ports.registry(), ports.catalog(), ports.admin(), ports.postgres()] {
            TcpListener::bind(("127.0.0.1", port)).with_context(|| {
                format!("port {port} of this machine must be free: end what listens there")
            })?;
        }
        Ok(ports)
    }

    pub fn kafka(self) -> u16 {
        9092 + self.offset
    }
    pub fn registry(self) -> u16 {
        8081 + self.offset
    }
    pub fn catalog(self) -> u16 {
        8181 + self.offset
    }
    pub fn admin(self) -> u16 {
        8080 + self.offset
    }
    pub fn postgres(self) -> u16 {
        5433 + self.offset
    }
}

/// A running node process; killed when dropped.
#[derive(Debug)]
pub struct ProcessNode {
    child: Child,
    pub ports: Ports,
    pub data_dir: PathBuf,
}

impl ProcessNode {
    /// Starts `program up` on a data directory and waits until it is ready.
    pub fn start(program: &Path, data_dir: &Path, ports: Ports, args: &[&str]) -> Result<Self> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data_dir.with_extension("node.log"))
            .context("node log")?;
        let child = Command::new(program)
            .arg("up")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--port-offset", &ports.offset.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut node = Self { child, ports, data_dir: data_dir.to_owned() };
        node.wait_until_ready(Duration::from_secs(60))?;
        Ok(node)
    }

    fn wait_until_ready(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                bail!("the node ended with {status}: {}", self.log_tail());
            }
            if http(self.ports.admin(), "GET", "/health/readyz", "").is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the node is not ready after {limit:?}: {}", self.log_tail())
    }

    /// The last lines of the node's log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.data_dir.with_extension("node.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// kill -9, and waits until the process is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; the exit code must be 0.
    pub fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the node stopped with {status}: {}", self.log_tail());
        }
        Ok(())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: u64 = text.split_whitespace().nth(1).context("statm")?.parse()?;
        Ok(pages * 4096)
    }

    /// Processor time of all threads so far.
    pub fn processor_time(&self) -> Result<Duration> {
        // proc(5): after the name in parentheses, utime and stime are the 12th and 13th field, in ticks of 10 ms.
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = text.rsplit_once(')').context("stat")?;
        let ticks =
            fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Lets the node run on the first `cores` processors only.
    pub fn run_on_cores(&self, cores: usize) -> Result<()> {
        let list = format!("0-{}", cores.max(1) - 1);
        let output =
            Command::new("taskset").args(["-a", "-p", "-c", &list, &self.child.id().to_string()]).output();
        let output = output.context("taskset, of Debian's util-linux")?;
        if !output.status.success() {
            bail!("taskset: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Status as JSON.
    pub fn status(&self) -> Result<serde_json::Value> {
        let (status, body) = http(self.ports.admin(), "GET", "/v1/status", "")?;
        if status != 200 {
            bail!("status: {status} {body}");
        }
        Ok(serde_json::from_str(&body)?)
    }

    /// The table entry of a topic in the status.
    pub fn table_status(&self, topic: &str) -> Result<serde_json::Value> {
        let status = self.status()?;
        let tables = status["tables"].as_array().context("tables")?;
        tables
            .iter()
            .find(|t| t["topic"] == topic)
            .cloned()
            .with_context(|| format!("no table of {topic}: {status}"))
    }

    /// Waits until a table has committed everything that is stable.
    pub fn wait_until_committed(&self, topic: &str, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let table = self.table_status(topic)?;
            if table["lag"] == 0 && table["state"] == "running" {
                return Ok(());
            }
            if begun.elapsed() > limit {
                bail!("{topic} is not committed after {limit:?}: {table}; {}", self.log_tail());
            }
            let _ = http(self.ports.admin(), "POST", &format!("/v1/tables/{topic}/commit"), "");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets the node account for every offset of a table; the error is what it found.
    pub fn verify(&self, table: &str) -> Result<()> {
        let (status, body) = http(self.ports.admin(), "POST", &format!("/v1/tables/{table}/verify"), "")?;
        let report: serde_json::Value = serde_json::from_str(&body).with_context(|| body.clone())?;
        if status != 200 || report["ok"] != true {
            bail!("verify {table}: {status} {body}");
        }
        Ok(())
    }

    /// Registers a JSON schema.
    pub fn register_schema(&self, subject: &str, schema: &str) -> Result<()> {
        self.register(subject, "JSON", schema)
    }

    /// Registers a schema of a type in the registry's words: `AVRO`, `JSON`, `PROTOBUF`.
    pub fn register(&self, subject: &str, schema_type: &str, schema: &str) -> Result<()> {
        let body = serde_json::json!({ "schemaType": schema_type, "schema": schema }).to_string();
        let (status, answer) =
            http(self.ports.registry(), "POST", &format!("/subjects/{subject}/versions"), &body)?;
        if status != 200 {
            bail!("registry answered {status}: {answer}");
        }
        Ok(())
    }
}

impl Drop for ProcessNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request on loopback: status and body.
pub fn http(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok((status, if chunked { unchunk(body) } else { body.to_owned() }))
}

fn unchunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0).min(rest.len());
        text.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    text
}

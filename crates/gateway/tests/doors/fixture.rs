//! A node in a temporary directory on free ports, and a plain HTTP client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{Supervisor, SystemClock};
use gateway::admission::Limits;
use gateway::http::Door;
use gateway::{Deps, Listen};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const TRADES_SCHEMA: &str = r#"{"type":"object","properties":{
    "symbol":{"type":"string"},"price":{"type":"number"},"qty":{"type":"integer"},
    "ts_event":{"type":"string","format":"date-time"}}}"#;

/// A running node. Dropping it stops its tasks with the test's runtime.
pub(super) struct Node {
    pub(super) registry: SocketAddr,
    pub(super) catalog: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) postgres: SocketAddr,
    pub(super) deps: Deps,
    dir: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(super) async fn node() -> Node {
    node_with(Limits::default()).await
}

pub(super) async fn node_with(limits: Limits) -> Node {
    start(limits, access::Settings::default()).await
}

/// A node whose catalog needs tokens.
pub(super) async fn node_with_tokens() -> Node {
    start(Limits::default(), access::Settings { catalog_tokens: true, ..Default::default() }).await
}

async fn start(limits: Limits, settings: access::Settings) -> Node {
    let dir = std::env::temp_dir().join(format!("frazil-doors-{}", uuid::Uuid::new_v4()));
    let supervisor = Supervisor::new(tokio::runtime::Handle::current());
    let deps = open(&dir, &supervisor, settings).await;
    let mut addresses = Vec::new();
    for _ in 0..4 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push((listener.local_addr().unwrap(), listener));
    }
    let mut bound = addresses.into_iter();
    let mut next = || {
        let (addr, listener) = bound.next().unwrap();
        (addr, listener, Listen { addr, advertised_host: "localhost".into() })
    };
    let (postgres, listener, listen) = next();
    gateway::pgwire::serve(listener, listen, limits.clone(), deps.clone());
    let mut http = |door| {
        let (addr, listener, listen) = next();
        gateway::http::serve(door, listener, listen, limits.clone(), deps.clone());
        addr
    };
    let (registry, catalog, admin) = (http(Door::Registry), http(Door::Catalog), http(Door::Admin));
    Node { registry, catalog, admin, postgres, deps, dir }
}

async fn open(dir: &std::path::Path, supervisor: &Supervisor, settings: access::Settings) -> Deps {
    let clock: base::SharedClock = Arc::new(SystemClock);
    let compute = tokio::runtime::Handle::current();
    let disk: storage::SharedDisk = Arc::new(storage::RealDisk);
    let directory = storage::DataDirectory::open(Arc::clone(&disk), dir).unwrap();
    let control = storage::Control::open(&disk, &storage::layout::control_file(directory.path())).unwrap();
    let objects = storage::Objects::local(disk, storage::layout::warehouse_dir(directory.path()));
    let topics = topics::Topics::open(
        topics::Settings::default(),
        topics::embedded::Deps { directory, control: control.clone(), clock: Arc::clone(&clock) },
        supervisor,
    )
    .unwrap();
    let registry = schemas::Registry::open(control.clone()).unwrap();
    let tables = tables::Tables::open(
        tables::Settings::default(),
        tables::catalog::Deps { objects, control: control.clone(), clock: Arc::clone(&clock) },
    )
    .unwrap();
    let engine = queries::Engine::new(
        queries::Settings::default(),
        queries::Deps {
            topics: topics.clone(),
            registry: registry.clone(),
            tables: tables.clone(),
            clock: Arc::clone(&clock),
            compute: compute.clone(),
        },
    );
    let commands = pipelines::Commands::start(pipelines::commands::Deps {
        topics: topics.clone(),
        registry: registry.clone(),
        tables: tables.clone(),
        engine: engine.clone(),
        control: control.clone(),
        clock: Arc::clone(&clock),
        supervisor: supervisor.clone(),
        compute,
    })
    .await
    .unwrap();
    let responses = gateway::admission::ResponseBudget::new(16 << 20);
    Deps {
        access: access::Access::open(control, settings).unwrap(),
        authentication: gateway::kafka::Authentication::None,
        topics,
        registry,
        tables,
        engine,
        commands,
        supervisor: supervisor.clone(),
        clock,
        responses,
    }
}

impl Node {
    /// A topic `trades` that is a table, with `count` records: symbol `S<i % 3>`, price `i / 4`, qty `i`.
    pub(super) async fn trades(&self, count: i64) {
        let config = [
            ("redpanda.iceberg.mode".to_owned(), "value_schema_latest".to_owned()),
            ("redpanda.iceberg.target.lag.ms".to_owned(), "3600000".to_owned()),
        ];
        let topic = topics::NewTopic { name: "trades".into(), partitions: Some(1), config: config.into() };
        self.deps.commands.create_topic(topic).await.unwrap();
        let body = serde_json::json!({"schemaType": "JSON", "schema": TRADES_SCHEMA}).to_string();
        let answer = self.post(self.registry, "/subjects/trades-value/versions", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut written = 0;
        while written < count {
            let mut batch = topics::batch::BatchBuilder::new();
            let end = count.min(written + 1000);
            for i in written..end {
                let value = serde_json::json!({
                    "symbol": format!("S{}", i % 3), "price": i as f64 / 4.0, "qty": i,
                    "ts_event": "2026-01-02T03:04:05.123456Z",
                });
                push(&mut batch, i, value.to_string().as_bytes());
            }
            self.deps.topics.append("trades", 0, batch.build().unwrap()).unwrap().await.unwrap();
            written = end;
        }
    }

    pub(super) async fn get(&self, door: SocketAddr, path: &str) -> Answer {
        http(door, "GET", path, &[], "").await
    }

    pub(super) async fn post(&self, door: SocketAddr, path: &str, body: &str) -> Answer {
        http(door, "POST", path, &[], body).await
    }
}

fn push(batch: &mut topics::batch::BatchBuilder, at: i64, value: &[u8]) {
    batch.push(1_700_000_000_000 + at, None, Some(value), &[]);
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One request on a connection of its own.
pub(super) async fn http(
    door: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.push_str(&format!("host: {door}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    let bytes = exchange(door, request.as_bytes()).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) =
        text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {method} {path}: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Sends bytes and reads until the other side closes; fails when it does not within ten seconds.
pub(super) async fn exchange(door: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(door).await.unwrap();
    // A refused connection may be closed while we still write.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    let _ =
        tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the connection must be closed");
    answer
}

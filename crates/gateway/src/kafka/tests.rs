//! The door as clients see it: a node without other doors, and a client that speaks raw frames.

mod access;
mod admin;
mod groups;
mod hostile;
mod records;
mod sasl;
mod schema_ids;
mod transactions;
mod upkeep;
mod versions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{SharedClock, SystemClock};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::versions::{Api, served};
use super::*;
use crate::admission::Limits;

/// Longer than anything here should take; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    addr: SocketAddr,
    access: ::access::Access,
    topics: ::topics::Topics,
    registry: schemas::Registry,
    commands: pipelines::Commands,
    supervisor: Supervisor,
    dir: PathBuf,
}

impl Node {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, Authentication::None, ::access::Settings::default()).await
    }

    async fn start_with(
        limits: Limits,
        authentication: Authentication,
        settings: ::access::Settings,
    ) -> Self {
        let dir = std::env::temp_dir().join(format!("frazil-kafka-{}", uuid::Uuid::new_v4()));
        let supervisor = Supervisor::new(Handle::current());
        let disk: storage::SharedDisk = Arc::new(storage::RealDisk);
        let directory = storage::DataDirectory::open(Arc::clone(&disk), &dir).unwrap();
        let control =
            storage::Control::open(&disk, &storage::layout::control_file(directory.path())).unwrap();
        let warehouse = storage::layout::warehouse_dir(directory.path());
        let objects = storage::Objects::local(Arc::clone(&disk), warehouse);
        let clock: SharedClock = Arc::new(SystemClock);
        let topics = ::topics::Topics::open(
            ::topics::Settings::default(),
            ::topics::embedded::Deps { directory, control: control.clone(), clock: clock.clone() },
            &supervisor,
        )
        .unwrap();
        let registry = schemas::Registry::open(control.clone()).unwrap();
        let tables = tables::Tables::open(
            tables::Settings::default(),
            tables::catalog::Deps { objects, control: control.clone(), clock: clock.clone() },
        )
        .unwrap();
        let compute = Handle::current();
        let engine = queries::Engine::new(
            queries::Settings::default(),
            queries::Deps {
                topics: topics.clone(),
                registry: registry.clone(),
                tables: tables.clone(),
                clock: clock.clone(),
                compute: compute.clone(),
            },
        );
        let commands = pipelines::Commands::start(pipelines::commands::Deps {
            topics: topics.clone(),
            registry: registry.clone(),
            tables: tables.clone(),
            engine: engine.clone(),
            control: control.clone(),
            clock: clock.clone(),
            supervisor: supervisor.clone(),
            compute,
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let listen = crate::Listen { addr, advertised_host: "127.0.0.1".into() };
        let access = ::access::Access::open(control, settings).unwrap();
        let deps = crate::Deps {
            access: access.clone(),
            authentication,
            topics: topics.clone(),
            registry: registry.clone(),
            tables,
            engine,
            commands: commands.clone(),
            supervisor: supervisor.clone(),
            clock,
            responses: ResponseBudget::new(limits.response_bytes_max),
        };
        serve(listener, listen, limits, deps);
        Self { addr, access, topics, registry, commands, supervisor, dir }
    }

    async fn with_topic(name: &str, partitions: i32) -> Self {
        let node = Self::start(Limits::default()).await;
        node.create(name, partitions).await;
        node
    }

    async fn create(&self, name: &str, partitions: i32) {
        let new = ::topics::NewTopic {
            name: name.into(),
            partitions: Some(partitions),
            config: Default::default(),
        };
        self.commands.create_topic(new).await.unwrap();
    }

    async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.addr).await.unwrap(), correlation: 0 }
    }

    async fn stop(self) {
        self.supervisor.stop(Duration::from_secs(10)).await;
        self.topics.close().await.unwrap();
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

struct Client {
    stream: TcpStream,
    correlation: i32,
}

impl Client {
    /// Sends a request and gives the correlation id of its answer.
    async fn send(&mut self, api: Api, version: i16, request: &impl Encodable) -> i32 {
        self.correlation += 1;
        let mut frame = BytesMut::new();
        frame.put_i16(api as i16);
        frame.put_i16(version);
        frame.put_i32(self.correlation);
        frame.put_i16(4);
        frame.put_slice(b"test");
        if served(api as i16).unwrap().is_flexible(version) {
            frame.put_u8(0);
        }
        request.encode(&mut frame, version).unwrap();
        self.send_raw(&(frame.len() as i32).to_be_bytes()).await;
        self.send_raw(&frame).await;
        self.correlation
    }

    async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer without its length: None when the connection was closed instead.
    async fn receive_frame(&mut self) -> Option<Bytes> {
        let reading = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.into())
        };
        timeout(PATIENCE, reading).await.expect("an answer or the end of the connection")
    }

    async fn receive<R: Decodable>(&mut self, api: Api, version: i16, correlation: i32) -> R {
        let mut frame = self.receive_frame().await.expect("an answer");
        assert_eq!(frame.get_i32(), correlation);
        if served(api as i16).unwrap().is_flexible(version) && api != Api::ApiVersions {
            assert_eq!(frame.get_u8(), 0);
        }
        let response = R::decode(&mut frame, version).unwrap_or_else(|e| panic!("{api:?} {version}: {e}"));
        assert!(frame.is_empty(), "{api:?} {version}: {} bytes left", frame.len());
        response
    }

    async fn call<R: Decodable>(&mut self, api: Api, version: i16, request: &impl Encodable) -> R {
        let correlation = self.send(api, version, request).await;
        self.receive(api, version, correlation).await
    }

    /// Produces one batch; gives (error code, base offset).
    async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> (i16, i64) {
        let response: ProduceResponse =
            self.call(Api::Produce, 11, &produce_request(topic, partition, batch, -1)).await;
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    /// Waits for the end of the connection; gives how many bytes came before it.
    async fn closed(&mut self) -> usize {
        let mut rest = Vec::new();
        // A reset is an end too: it comes when the door closes with our bytes unread.
        let _reset = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("a close");
        rest.len()
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn produce_request(topic: &str, partition: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![topic])
}

/// A batch of `count` records.
fn batch(count: usize) -> Bytes {
    builder(count).build().unwrap()
}

fn builder(count: usize) -> ::topics::batch::BatchBuilder {
    let mut builder = ::topics::batch::BatchBuilder::new();
    for i in 0..count {
        builder.push(1_700_000_000_000 + i as i64, Some(b"key"), Some(format!("value {i}").as_bytes()), &[]);
    }
    builder
}

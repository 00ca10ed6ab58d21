//! A Kafka cluster as a client sees it: topics, records in, records out.
//!
//! Owns: everything that speaks through librdkafka; the only place that names `rdkafka`.
//! Does not own: the embedded log (`embedded`), which knows nothing of this side; decoding of payloads.
//! Invariants: no call blocks an async thread (librdkafka's blocking calls run on the blocking pool); queues are
//! bounded by librdkafka's own limits, set here; an unknown topic is reported, never created by asking for it.

pub mod consumer;
pub mod error;
mod greeting;
pub mod producer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource as RdSource, NewTopic as RdTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaErrorCode as Code;

pub use consumer::{ConsumedRecord, Consumer, StartAt};
pub use error::ClusterError;
pub use producer::{Compression, Delivered, ProduceRecord, Producer, ProducerSettings};

use crate::topic::{ConfigSource, NewTopic};

/// Limits of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSettings {
    /// Longest wait for one answer of the cluster; Kafka's clients wait as long (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How the client names itself.
    pub client_id: String,
    /// Who it says it is; none where nobody is asked.
    pub login: Option<Login>,
}

/// A user and a password, which cross the connection as they are (SASL PLAIN).
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(30), client_id: "frazil".into(), login: None }
    }
}

/// A client of the cluster that listens on `bootstrap`. Clones are cheap; each call makes its own connection.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    bootstrap: String,
    settings: ClusterSettings,
}

/// A topic of the cluster and how many partitions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTopic {
    pub name: String,
    pub partitions: usize,
}

/// One partition of a described topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPartition {
    pub partition: PartitionId,
    pub leader: i32,
    /// Offset of the first record that can still be read.
    pub start: Offset,
    /// Offset that the next record will get (the high watermark).
    pub end: Offset,
}

/// One property of a described topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Everything a cluster tells about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    pub partitions: Vec<ClusterPartition>,
    /// Sorted by name.
    pub config: Vec<ClusterConfig>,
}

impl ClusterClient {
    /// A client of `bootstrap`: `host:port`, several separated by commas. Connects with the first call.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self::with_settings(bootstrap, ClusterSettings::default())
    }

    /// The same with other limits.
    pub fn with_settings(bootstrap: impl Into<String>, settings: ClusterSettings) -> Self {
        Self { bootstrap: bootstrap.into(), settings }
    }

    /// The addresses that were given.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic. `replication` is Kafka's factor, -1 for the broker's default; with `dry_run` only checks.
    pub async fn create_topic(
        &self,
        topic: &NewTopic,
        replication: i32,
        dry_run: bool,
    ) -> Result<(), ClusterError> {
        let admin = self.admin()?;
        let mut new =
            RdTopic::new(&topic.name, topic.partitions.unwrap_or(-1), TopicReplication::Fixed(replication));
        for (key, value) in &topic.config {
            new = new.set(key, value);
        }
        let options = self.admin_options().validate_only(dry_run);
        let answers = admin.create_topics([&new], &options).await.map_err(|e| self.failed(e))?;
        self.first_answer(answers, &topic.name)
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClusterError> {
        let admin = self.admin()?;
        let answers =
            admin.delete_topics(&[name], &self.admin_options()).await.map_err(|e| self.failed(e))?;
        self.first_answer(answers, name)
    }

    /// All topics, sorted by name.
    pub async fn topics(&self) -> Result<Vec<ClusterTopic>, ClusterError> {
        let client = self.clone();
        blocking(move || {
            let consumer = client.base_consumer()?;
            let metadata = consumer
                .fetch_metadata(None, client.settings.request_timeout)
                .map_err(|e| client.failed(e))?;
            let mut topics: Vec<_> = metadata
                .topics()
                .iter()
                .map(|t| ClusterTopic { name: t.name().to_owned(), partitions: t.partitions().len() })
                .collect();
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(topics)
        })
        .await
    }

    /// Partitions with their offsets, and properties.
    pub async fn describe(&self, name: &str) -> Result<TopicDescription, ClusterError> {
        let (client, topic) = (self.clone(), name.to_owned());
        let partitions = blocking(move || client.partitions_of(&client.base_consumer()?, &topic)).await?;
        let admin = self.admin()?;
        let asked = [ResourceSpecifier::Topic(name)];
        let answers =
            admin.describe_configs(&asked, &self.admin_options()).await.map_err(|e| self.failed(e))?;
        let mut config = Vec::new();
        for answer in answers {
            let resource = answer.map_err(|code| ClusterError::from_code(code, name))?;
            config.extend(resource.entries.into_iter().map(|entry| ClusterConfig {
                source: match entry.source {
                    RdSource::DynamicTopic => ConfigSource::Topic,
                    _ => ConfigSource::Default,
                },
                name: entry.name,
                value: entry.value,
            }));
        }
        config.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(TopicDescription { name: name.to_owned(), partitions, config })
    }

    /// Sets and removes properties of a topic. The client library knows only the request that replaces all of them
    /// (AlterConfigs), so those that stay are read first: of two changes at the same moment, one can be lost.
    pub async fn alter_topic(
        &self,
        name: &str,
        set: &BTreeMap<String, String>,
        delete: &[String],
        dry_run: bool,
    ) -> Result<(), ClusterError> {
        let before = self.stored_config(name).await?;
        let mut all = before.clone();
        all.retain(|key, _| !delete.contains(key));
        all.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in &all {
            change = change.set(key, value);
        }
        let options = self.admin_options().validate_only(dry_run);
        self.admin()?.alter_configs([&change], &options).await.map_err(|e| self.failed(e))?;
        if dry_run || all == before {
            return Ok(());
        }
        // The client library passes a refusal over in silence.
        match self.stored_config(name).await? == before {
            true => Err(ClusterError::Unchanged(name.to_owned())),
            false => Ok(()),
        }
    }

    /// The properties that a topic has of its own.
    async fn stored_config(&self, name: &str) -> Result<BTreeMap<String, String>, ClusterError> {
        let stored = self.describe(name).await?.config.into_iter();
        let own = stored.filter(|config| config.source == ConfigSource::Topic);
        Ok(own.filter_map(|config| Some((config.name, config.value?))).collect())
    }

    /// A producer that waits for acks=all.
    pub fn producer(&self, settings: ProducerSettings) -> Result<Producer, ClusterError> {
        Producer::open(self, settings)
    }

    /// A consumer of some partitions of a topic (all when none are named), from where `start` says.
    pub async fn consumer(
        &self,
        topic: &str,
        partitions: &[PartitionId],
        start: StartAt,
    ) -> Result<Consumer, ClusterError> {
        let (client, topic, partitions) = (self.clone(), topic.to_owned(), partitions.to_vec());
        blocking(move || Consumer::open(&client, topic, &partitions, start)).await
    }

    pub(crate) fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.settings.client_id)
            .set("broker.address.ttl", "10000")
            .set("socket.nagle.disable", "true");
        if let Some(login) = &self.settings.login {
            config
                .set("security.protocol", "sasl_plaintext")
                .set("sasl.mechanism", "PLAIN")
                .set("sasl.username", &login.user)
                .set("sasl.password", &login.password);
        }
        config
    }

    /// A consumer without a group: for metadata and for reading by assignment.
    pub(crate) fn base_consumer(&self) -> Result<BaseConsumer, ClusterError> {
        self.config()
            // librdkafka wants a group id even where no group is ever joined.
            .set("group.id", &self.settings.client_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "250")
            .set("queued.max.messages.kbytes", "32768")
            .create()
            .map_err(|e| self.failed(e))
    }

    pub(crate) fn partitions_of(
        &self,
        consumer: &BaseConsumer,
        topic: &str,
    ) -> Result<Vec<ClusterPartition>, ClusterError> {
        let limit = self.settings.request_timeout;
        let metadata = consumer.fetch_metadata(Some(topic), limit).map_err(|e| self.failed(e))?;
        let found = metadata
            .topics()
            .iter()
            .find(|t| t.name() == topic)
            .ok_or_else(|| ClusterError::UnknownTopic(topic.to_owned()))?;
        if let Some(error) = found.error() {
            return Err(ClusterError::from_code(RDKafkaErrorCode::from(error), topic));
        }
        if found.partitions().is_empty() {
            return Err(ClusterError::UnknownTopic(topic.to_owned()));
        }
        let mut partitions = Vec::with_capacity(found.partitions().len());
        for partition in found.partitions() {
            let (start, end) =
                consumer.fetch_watermarks(topic, partition.id(), limit).map_err(|e| self.failed(e))?;
            partitions.push(ClusterPartition {
                partition: partition.id(),
                leader: partition.leader(),
                start,
                end,
            });
        }
        partitions.sort_by_key(|p| p.partition);
        Ok(partitions)
    }

    pub(crate) fn failed(&self, error: KafkaError) -> ClusterError {
        ClusterError::from_kafka(error, &self.bootstrap)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, ClusterError> {
        self.config().create().map_err(|e| self.failed(e))
    }

    fn admin_options(&self) -> AdminOptions {
        let limit = self.settings.request_timeout;
        AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
    }

    fn first_answer(
        &self,
        answers: Vec<Result<String, (String, Code)>>,
        topic: &str,
    ) -> Result<(), ClusterError> {
        match answers.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(ClusterError::from_code(code, topic)),
            None => Err(ClusterError::Failed { doing: "answer nothing", reason: topic.to_owned() }),
        }
    }
}

/// Names of properties with their values, as `-c key=value` gives them.
pub fn config_map(
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value).is_some() {
            return Err(format!("property `{key}` is given twice"));
        }
    }
    Ok(map)
}

pub(crate) async fn blocking<T, F>(work: F) -> Result<T, ClusterError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ClusterError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(ClusterError::Failed { doing: "run the client", reason: e.to_string() }))
}

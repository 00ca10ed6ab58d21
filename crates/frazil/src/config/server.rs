//! The blocks `server` and `observability`.
//!
//! `server.kafka` holds broker settings under Kafka's own names, because people know them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, PathBuf};
use std::time::Duration;

use gateway::kafka::Authentication;

use super::groups::GroupBlock;
use super::maintenance::MaintenanceBlock;
use super::problem::{Place, Problems};
use super::reader::Block;
use super::security::{self, SecurityBlock};

/// Ports of the doors; none keeps the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenBlock {
    pub kafka: Option<u16>,
    pub schema_registry: Option<u16>,
    pub catalog: Option<u16>,
    pub http: Option<u16>,
    pub postgres: Option<u16>,
    /// Where the Kafka door listens if that is not where the others do, and where it was said.
    pub kafka_address: Option<(IpAddr, Place)>,
}

/// Kafka's broker settings; none keeps the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerBlock {
    /// `num.partitions`.
    pub partitions_default: Option<i32>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: Option<bool>,
    /// `replication.factor.max`, which Kafka does not have: its largest is the number of brokers.
    pub replication_factor_max: Option<i16>,
    /// `group.*` and `offsets.*`.
    pub groups: GroupBlock,
}

impl BrokerBlock {
    /// The log's settings with what this block says.
    pub fn apply(&self, settings: &mut ::topics::Settings) {
        if let Some(count) = self.partitions_default {
            settings.partitions_default = count;
        }
        if let Some(enabled) = self.auto_create_topics {
            settings.auto_create_topics = enabled;
        }
        if let Some(max) = self.replication_factor_max {
            settings.replication_factor_max = max;
        }
        self.groups.apply(&mut settings.groups);
    }
}

/// What tables made from topics have when their topic does not say; none keeps the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablesBlock {
    /// `default_namespace`.
    pub namespace: Option<String>,
    /// `default_partition_spec`.
    pub partition_by: Option<String>,
    /// `warehouse`: the directory of all table files, absolute.
    pub warehouse: Option<PathBuf>,
    /// `requested_location: override`: wishes of other engines for a table's place are passed over, not refused.
    pub override_locations: Option<bool>,
    /// `commit_bytes`.
    pub commit_bytes: Option<u64>,
    /// `commit_interval_min` and `commit_interval_max`.
    pub commit_interval: (Option<Duration>, Option<Duration>),
    /// `commit_files_max`.
    pub commit_files: Option<usize>,
}

/// The keys of `server.tables`.
const TABLES_KEYS: &[&str] = &[
    "default_namespace",
    "default_partition_spec",
    "commit_bytes",
    "commit_interval_min",
    "commit_interval_max",
    "commit_files_max",
    "warehouse",
    "requested_location",
];

impl TablesBlock {
    /// The catalog's settings with what this block says.
    pub fn apply(&self, settings: &mut ::tables::Settings) {
        if let Some(namespace) = &self.namespace {
            settings.default_namespace.clone_from(namespace);
        }
        if let Some(partition_by) = &self.partition_by {
            settings.default_partition_by.clone_from(partition_by);
        }
        if let Some(passed_over) = self.override_locations {
            settings.override_locations = passed_over;
        }
    }

    /// The limits of commits with what this block says.
    pub fn apply_to_commits(&self, settings: &mut ::pipelines::Settings) {
        settings.commit_bytes = self.commit_bytes.unwrap_or(settings.commit_bytes);
        let (least, most) = self.commit_interval;
        settings.commit_interval_min = least.unwrap_or(settings.commit_interval_min);
        settings.commit_interval_max = most.unwrap_or(settings.commit_interval_max);
        settings.commit_files_max = self.commit_files.unwrap_or(settings.commit_files_max);
    }

    fn read(&mut self, mut block: Block<'_>) {
        self.commit_bytes = block.parsed("commit_bytes", base::units::parse_bytes).or(self.commit_bytes);
        let (least, most) = &mut self.commit_interval;
        *least = block.parsed("commit_interval_min", base::units::parse_duration).or(*least);
        *most = block.parsed("commit_interval_max", base::units::parse_duration).or(*most);
        let count = |text: &str| match text.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err("give a whole number, 1 or more".to_owned()),
        };
        self.commit_files = block.parsed("commit_files_max", count).or(self.commit_files);
        let plain = |text: &str| match text.is_empty() || text.contains('.') {
            true => Err("give a name without dots".to_owned()),
            false => Ok(text.to_owned()),
        };
        if let Some(namespace) = block.parsed("default_namespace", plain) {
            self.namespace = Some(namespace);
        }
        let spec = ::topics::ConfigKey::named("redpanda.iceberg.partition.spec");
        let checked = |text: &str| match spec {
            Some(key) => key.check(text).map(|()| text.to_owned()),
            None => Ok(text.to_owned()),
        };
        if let Some(partition_by) = block.parsed("default_partition_spec", checked) {
            self.partition_by = Some(partition_by);
        }
        let absolute = |text: &str| match PathBuf::from(text) {
            path if path.is_absolute() && path.components().all(|part| part != Component::ParentDir) => {
                Ok(path)
            }
            _ => Err(format!("`{text}`: give an absolute directory without `..`")),
        };
        if let Some(warehouse) = block.parsed("warehouse", absolute) {
            self.warehouse = Some(warehouse);
        }
        let wishes = block.parsed("requested_location", |text| match text {
            "refuse" => Ok(false),
            "override" => Ok(true),
            _ => Err(format!("`{text}`: write refuse or override")),
        });
        self.override_locations = wishes.or(self.override_locations);
        block.close(TABLES_KEYS, &[]);
    }
}

pub(super) const BROKER_KEYS: &[&str] = &[
    "num.partitions",
    "auto.create.topics.enable",
    "replication.factor.max",
    "group.initial.rebalance.delay.ms",
    "group.min.session.timeout.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "offsets.retention.minutes",
];
pub(super) const DOORS: &[&str] = &["kafka", "schema_registry", "catalog", "http", "postgres"];

pub(super) fn read(
    mut block: Block<'_>,
    listen: &mut ListenBlock,
    broker: &mut BrokerBlock,
    security: &mut SecurityBlock,
    maintenance: &mut MaintenanceBlock,
    tables: &mut TablesBlock,
) {
    if let Some(mut doors) = block.block("listen") {
        let place = doors.place_of("kafka").map(|(place, _)| place);
        if let Some((address, port)) = doors.parsed("kafka", parse_address) {
            listen.kafka = Some(port);
            listen.kafka_address = place.filter(|_| !address.is_loopback()).map(|place| (address, place));
        }
        for (name, slot) in [
            ("schema_registry", &mut listen.schema_registry),
            ("catalog", &mut listen.catalog),
            ("http", &mut listen.http),
            ("postgres", &mut listen.postgres),
        ] {
            if let Some(port) = doors.parsed(name, parse_listen) {
                *slot = Some(port);
            }
        }
        doors.close(DOORS, &["flight_sql", "s3"]);
    }
    if let Some(settings) = block.block("kafka") {
        read_broker(settings, broker, security);
    }
    if let Some(settings) = block.block("catalog") {
        security::read_catalog(settings, security);
    }
    if let Some(switches) = block.block("maintenance") {
        maintenance.read(switches);
    }
    if let Some(settings) = block.block("tables") {
        tables.read(settings);
    }
    block.close(&["listen", "kafka", "catalog", "maintenance", "tables"], &["auth", "tls", "limits"]);
}

fn read_broker(mut block: Block<'_>, broker: &mut BrokerBlock, security: &mut SecurityBlock) {
    if let Some(count) = block.number("num.partitions", 1) {
        broker.partitions_default = Some(count);
    }
    if let Some(enabled) = block.boolean("auto.create.topics.enable") {
        broker.auto_create_topics = Some(enabled);
    }
    let factor = block.parsed("replication.factor.max", |text| match text.parse::<i16>() {
        Ok(max) if max >= 1 => Ok(max),
        _ => Err(format!("`{text}` is no whole number from 1 to {}", i16::MAX)),
    });
    broker.replication_factor_max = factor.or(broker.replication_factor_max);
    broker.groups.read(&mut block);
    security::read(&mut block, security);
    let known: Vec<&str> = [BROKER_KEYS, security::KEYS].concat();
    block.close(&known, &[]);
}

pub(super) fn read_observability(mut block: Block<'_>, log_level: &mut Option<String>) {
    if let Some(mut logs) = block.block("logs") {
        if let Some(level) =
            logs.parsed("level", |text| crate::telemetry::check_level(text).map(|()| text.to_owned()))
        {
            *log_level = Some(level);
        }
        logs.parsed("format", |text| match text {
            "text" => Ok(()),
            _ => Err(format!("`{text}` is not available yet in this version: write text")),
        });
        logs.close(&["level", "format"], &[]);
    }
    block.close(&["logs"], &["metrics", "otlp", "openlineage"]);
}

/// `9092`, `127.0.0.1:9092`, `localhost:9092` or `[::1]:9092`; other addresses are refused.
fn parse_listen(text: &str) -> Result<u16, String> {
    let (address, port) = parse_address(text)?;
    refuse_beyond_loopback(address).map(|()| port)
}

fn parse_address(text: &str) -> Result<(IpAddr, u16), String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port
        .parse::<u16>()
        .map_err(|_| format!("`{text}` is no address: write for example 127.0.0.1:9092"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = match host {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| format!("`{host}` is no IP address"))?,
    };
    Ok((address, port))
}

/// Whether the Kafka door may listen there: beyond this machine those who come have to say who they are.
pub(super) fn check_kafka_address(listen: &ListenBlock, security: &SecurityBlock, problems: &mut Problems) {
    let Some((address, place)) = &listen.kafka_address else { return };
    let key = "server.listen.kafka";
    if security.authentication == Authentication::None {
        let reason = format!(
            "listening on {address} would let anybody on the network in: set `server.kafka.authentication: sasl`, or \
             listen on 127.0.0.1"
        );
        problems.add(place.clone(), key, reason);
    } else if address.is_unspecified() && security.advertised_host.is_none() {
        let reason = format!(
            "clients cannot be told to connect to {address}: name this machine in \
             `server.kafka.advertised.host.name`"
        );
        problems.add(place.clone(), key, reason);
    }
}

/// The other doors have no authentication yet, so only this machine may reach them.
pub(crate) fn refuse_beyond_loopback(address: IpAddr) -> Result<(), String> {
    if address.is_loopback() {
        return Ok(());
    }
    Err(format!(
        "listening on {address} would let anybody on the network in: that will need `server.auth`, which is not \
         available yet; listen on 127.0.0.1 and use an SSH tunnel or a proxy that authenticates"
    ))
}

//! The steps of the demonstration, against a node that is only known by its addresses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use pipelines::{OnError, PipelineSpec, PublishMode, Target, Trigger};
use serde_json::Value;
use topics::NewTopic;
use topics::cluster::{ProduceRecord, ProducerSettings, StartAt};

use super::trades::{Expected, Trades};
use super::{ANALYTICS, ANALYTICS_SCHEMA, ANALYTICS_SQL, Settings, TRADES, TRADES_SCHEMA};
use crate::output::{Cell, grouped};
use crate::progress::Progress;
use crate::remote::Remote;
use crate::remote::http::Http;
use crate::remote::sql::{Sql, Table};

/// Longest wait for a commit or a run.
const WAIT_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Records handed to the producer at once.
const CHUNK: usize = 5_000;

/// A step that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub done: String,
    /// What was counted.
    pub found: String,
    pub took: Duration,
}

/// What the demonstration found.
#[derive(Debug)]
pub struct Report {
    pub steps: Vec<Step>,
    /// The analytics as SQL returned them from the second table.
    pub analytics: Table,
    /// The analytics as they lie in the topic: key and value, in offset order.
    pub published: Vec<(Option<Bytes>, Option<Bytes>)>,
}

struct Run<'a> {
    remote: &'a Remote,
    http: Http,
    settings: Settings,
    progress: &'a Progress,
    steps: Vec<Step>,
    started: Instant,
}

/// Runs every step; the error names the first that failed.
pub async fn run(remote: &Remote, settings: Settings, progress: &Progress) -> anyhow::Result<Report> {
    let http = Http::new(remote)?;
    let mut run = Run { remote, http, settings, progress, steps: Vec::new(), started: Instant::now() };
    run.create_topics().await.context("creating the topics")?;
    run.register_schemas().await.context("registering the schemas")?;
    let expected = run.produce().await.context("producing the trades")?;
    let sql = Sql::connect(remote).await?;
    run.count_hot(&sql).await.context("counting the acknowledged trades")?;
    run.commit(TRADES, settings.rows).await.context("committing the trades")?;
    run.count_committed(&sql).await.context("counting the committed trades")?;
    run.aggregate(&sql, &expected).await.context("aggregating the trades")?;
    let published = run.publish(expected.len() as u64).await.context("publishing the analytics")?;
    run.commit(ANALYTICS, expected.len() as u64).await.context("committing the analytics")?;
    let analytics = run.read_back(&sql, &expected).await.context("reading the analytics back")?;
    Ok(Report { steps: run.steps, analytics, published })
}

impl Run<'_> {
    fn step(&mut self, done: impl Into<String>, found: impl Into<String>) {
        let took = self.started.elapsed();
        self.started = Instant::now();
        self.steps.push(Step { done: done.into(), found: found.into(), took });
        self.progress.clear();
    }

    async fn create_topics(&mut self) -> anyhow::Result<()> {
        let client = self.remote.kafka().await?;
        for (name, partitions) in [(TRADES, 3), (ANALYTICS, 1)] {
            let config = BTreeMap::from([
                ("redpanda.iceberg.mode".to_owned(), "value_schema_latest".to_owned()),
                // The trades are dated: by age they would be gone before they are looked at.
                ("retention.ms".to_owned(), "-1".to_owned()),
            ]);
            let topic = NewTopic { name: name.to_owned(), partitions: Some(partitions), config };
            client.create_topic(&topic, -1, false).await?;
        }
        self.step(
            "created two topics that are Iceberg tables, over the Kafka protocol",
            format!("{TRADES}: 3 partitions, {ANALYTICS}: 1"),
        );
        Ok(())
    }

    async fn register_schemas(&mut self) -> anyhow::Result<()> {
        let mut ids = Vec::new();
        for (topic, schema) in [(TRADES, TRADES_SCHEMA), (ANALYTICS, ANALYTICS_SCHEMA)] {
            let subject = format!("{topic}-value");
            let id = self.http.register(&subject, schema).await?;
            ids.push(format!("{subject}: id {id}"));
        }
        self.step("registered their JSON schemas over the registry's HTTP API", ids.join(", "));
        Ok(())
    }

    async fn produce(&mut self) -> anyhow::Result<BTreeMap<&'static str, Expected>> {
        let client = self.remote.kafka().await?;
        let producer = client.producer(ProducerSettings::default())?;
        let mut expected: BTreeMap<&'static str, Expected> = BTreeMap::new();
        let (mut sent, mut bytes) = (0, 0);
        let mut trades = Trades::seeded(self.settings.seed);
        while sent < self.settings.rows {
            let count = CHUNK.min(usize::try_from(self.settings.rows - sent).unwrap_or(CHUNK));
            let mut records = Vec::with_capacity(count);
            for trade in trades.by_ref().take(count) {
                expected.entry(trade.symbol).or_default().add(&trade);
                let value = trade.json();
                bytes += value.len();
                records.push(ProduceRecord {
                    key: Some(Bytes::from_static(trade.symbol.as_bytes())),
                    value: Some(value.into()),
                    timestamp_ms: Some(trade.ts_event_us / 1_000),
                    ..ProduceRecord::default()
                });
            }
            producer.send(TRADES, records).await?;
            sent += count as u64;
            self.progress.show(&format!("producing: {} of {}", grouped(sent), grouped(self.settings.rows)));
        }
        let delivered = producer.flush().await?;
        ensure!(
            delivered.acknowledged == self.settings.rows,
            "{} records were acknowledged, not {}",
            delivered.acknowledged,
            self.settings.rows
        );
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = delivered.acknowledged as f64 / seconds;
        self.step(
            "produced trades over TCP with librdkafka (acks=all, fsynced)",
            format!(
                "{} acknowledged, {:.1} MB, {} per second",
                grouped(delivered.acknowledged),
                bytes as f64 / 1e6,
                grouped(rate as u64)
            ),
        );
        Ok(expected)
    }

    async fn count_hot(&mut self, sql: &Sql) -> anyhow::Result<()> {
        let rows = sql.number(&format!("SELECT count(*) FROM {TRADES}")).await?;
        ensure!(rows == self.settings.rows, "SQL sees {rows} rows, {} were acknowledged", self.settings.rows);
        let committed = self.records_of(TRADES).await?;
        self.step(
            "counted them by SQL at once, log and table together",
            format!("{} rows, {} of them in Iceberg by then", grouped(rows), grouped(committed)),
        );
        Ok(())
    }

    /// Asks for a commit and waits until the table, as the REST catalog shows it, has so many records.
    async fn commit(&mut self, topic: &str, want: u64) -> anyhow::Result<()> {
        self.http.commit(topic).await?;
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let have = self.records_of(topic).await?;
            if have == want {
                break;
            }
            ensure!(have < want, "table {topic} has {have} records, more than the {want} that were produced");
            if Instant::now() > deadline {
                bail!(
                    "table {topic} has {have} of {want} records after {WAIT_LIMIT:?}{}",
                    self.reason(topic).await
                );
            }
            self.progress.show(&format!("committing: {} of {}", grouped(have), grouped(want)));
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let table = self.table_of(topic).await?.context("the table is gone")?;
        let metadata = &table["metadata"];
        self.step(
            format!("committed to the Iceberg table {topic}, as the REST catalog shows it"),
            format!(
                "{} records, snapshot {}, {} in all",
                grouped(want),
                metadata["current-snapshot-id"],
                metadata["snapshots"].as_array().map_or(0, Vec::len)
            ),
        );
        Ok(())
    }

    async fn count_committed(&mut self, sql: &Sql) -> anyhow::Result<()> {
        let rows = self.settings.rows;
        let text = format!("SELECT count(*), count(DISTINCT trade_id), count(DISTINCT symbol) FROM {TRADES}");
        let table = sql.table(&text).await?;
        let counts = numbers(table.rows.first().context("no row")?)?;
        ensure!(counts.first() == Some(&rows), "SQL counts {:?} rows, {rows} were produced", counts.first());
        ensure!(
            counts.get(1) == Some(&rows),
            "{:?} distinct trades of {rows}: something is doubled",
            counts.get(1)
        );
        self.step(
            "counted again by SQL: produced = acknowledged = SQL = table",
            format!("{} rows, all trade ids distinct", grouped(rows)),
        );
        Ok(())
    }

    async fn aggregate(&mut self, sql: &Sql, expected: &BTreeMap<&str, Expected>) -> anyhow::Result<()> {
        let table = sql.table(ANALYTICS_SQL).await?;
        check_analytics(&table, expected)?;
        self.step(
            "aggregated per symbol by SQL, compared with the generator's own sums",
            format!("{} symbols agree", table.rows.len()),
        );
        Ok(())
    }

    async fn publish(&mut self, want: u64) -> anyhow::Result<Vec<(Option<Bytes>, Option<Bytes>)>> {
        let spec = PipelineSpec {
            description: Some("one record per symbol".into()),
            sql: ANALYTICS_SQL.into(),
            trigger: Trigger::OnCommit(vec![TRADES.into()]),
            into: Target {
                topic: ANALYTICS.into(),
                key: vec!["symbol".into()],
                format: pipelines::spec::Format::Json,
                mode: PublishMode::Append,
                partitions: None,
                config: BTreeMap::new(),
            },
            on_error: OnError::default(),
        };
        self.http.put_pipeline(ANALYTICS, &spec).await?;
        let consumer = self.remote.kafka().await?.consumer(ANALYTICS, &[], StartAt::Start).await?;
        let deadline = Instant::now() + WAIT_LIMIT;
        let mut published = Vec::new();
        while (published.len() as u64) < want {
            for record in consumer.next(1_000, Duration::from_millis(250)).await? {
                published.push((record.key, record.value));
            }
            if Instant::now() > deadline {
                let reason = self.pipeline_message().await;
                bail!(
                    "{} of {want} records are in {ANALYTICS} after {WAIT_LIMIT:?}{reason}",
                    published.len()
                );
            }
            self.progress.show(&format!("publishing: {} of {want}", published.len()));
        }
        ensure!(published.len() as u64 == want, "{} records in {ANALYTICS}, not {want}", published.len());
        self.step(
            format!("published the result to the topic {ANALYTICS} by a pipeline"),
            format!("{want} records, one per symbol, read back by a Kafka consumer"),
        );
        Ok(published)
    }

    async fn read_back(&mut self, sql: &Sql, expected: &BTreeMap<&str, Expected>) -> anyhow::Result<Table> {
        let columns = "symbol, trade_count, avg_price, min_price, max_price, total_volume, buy_count, \
                       sell_count, first_trade_time, last_trade_time";
        let table = sql.table(&format!("SELECT {columns} FROM {ANALYTICS} ORDER BY symbol")).await?;
        check_analytics(&table, expected)?;
        let sum = sql.number(&format!("SELECT sum(trade_count) FROM {ANALYTICS}")).await?;
        ensure!(sum == self.settings.rows, "the analytics count {sum} trades, not {}", self.settings.rows);
        self.step(
            format!("queried the table {ANALYTICS} by SQL"),
            format!("{} rows that count {} trades", table.rows.len(), grouped(sum)),
        );
        Ok(table)
    }

    /// The table of a topic in the REST catalog; none when it is not there yet.
    async fn table_of(&self, topic: &str) -> anyhow::Result<Option<Value>> {
        let found = self.http.tables().await?.into_iter().find(|(_, name)| name == topic);
        match found {
            None => Ok(None),
            Some((namespace, name)) => self.http.table(&namespace, &name).await.map(Some),
        }
    }

    async fn records_of(&self, topic: &str) -> anyhow::Result<u64> {
        let Some(table) = self.table_of(topic).await? else { return Ok(0) };
        let metadata = &table["metadata"];
        let current = &metadata["current-snapshot-id"];
        let total = metadata["snapshots"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|s| s["snapshot-id"] == *current)
            .and_then(|s| s["summary"]["total-records"].as_str());
        Ok(total.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn reason(&self, topic: &str) -> String {
        self.message("tables", "topic", topic).await
    }

    async fn pipeline_message(&self) -> String {
        self.message("pipelines", "name", ANALYTICS).await
    }

    /// What status says about something, for an error.
    async fn message(&self, list: &str, key: &str, name: &str) -> String {
        let Ok(status) = self.http.status().await else { return String::new() };
        let entry = status[list].as_array().into_iter().flatten().find(|e| e[key] == *name).cloned();
        entry.map_or_else(String::new, |e| format!("; status says: {e}"))
    }
}

fn numbers(row: &[Cell]) -> anyhow::Result<Vec<u64>> {
    row.iter()
        .map(|cell| {
            let text = cell.as_deref().context("NULL where a number is expected")?;
            text.parse().with_context(|| format!("`{text}` is no whole number"))
        })
        .collect()
}

/// Compares rows of the analytics with what the generator counted.
fn check_analytics(table: &Table, expected: &BTreeMap<&str, Expected>) -> anyhow::Result<()> {
    ensure!(table.rows.len() == expected.len(), "{} symbols, not {}", table.rows.len(), expected.len());
    for (row, (symbol, want)) in table.rows.iter().zip(expected) {
        let cell = |name: &str| -> anyhow::Result<&str> {
            let at =
                table.columns.iter().position(|c| c.name == name).with_context(|| format!("no {name}"))?;
            row.get(at).and_then(Option::as_deref).with_context(|| format!("{symbol}: {name} is NULL"))
        };
        ensure!(cell("symbol")? == *symbol, "{} where {symbol} is expected", cell("symbol")?);
        for (name, count) in [
            ("trade_count", want.trade_count),
            ("total_volume", want.total_volume),
            ("buy_count", want.buy_count),
            ("sell_count", want.trade_count - want.buy_count),
        ] {
            ensure!(cell(name)? == count.to_string(), "{symbol}: {name} is {}, not {count}", cell(name)?);
        }
        let average = want.price_cents as f64 / want.trade_count as f64;
        for (name, cents, within) in [
            ("min_price", want.min_cents as f64, 0.001),
            ("max_price", want.max_cents as f64, 0.001),
            ("avg_price", average, 0.501),
        ] {
            let have: f64 = cell(name)?.parse().with_context(|| format!("{symbol}: {name} is no number"))?;
            let off = (have * 100.0 - cents).abs();
            ensure!(off <= within, "{symbol}: {name} is {have}, not {:.2}", cents / 100.0);
        }
        for name in ["first_trade_time", "last_trade_time"] {
            cell(name)?;
        }
    }
    Ok(())
}

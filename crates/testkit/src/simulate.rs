//! The parts of a node below the doors, on a simulated disk.
//!
//! Owns: opening them as the node does, dropping them as a power cut does, reading back log and tables.
//! Does not own: what should be there ([`crate::checker`]).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use base::{SharedClock, Supervisor, SystemClock};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use storage::simulated::SimulatedDisk;
use storage::{Control, DataDirectory, Objects, SharedDisk, layout};
use tokio::runtime::Runtime;
use topics::batch::{BatchBuilder, Batches};

use crate::checker::Read;

const DATA: &str = "/data";
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A node without doors.
#[derive(Debug)]
pub struct Parts {
    pub topics: topics::Topics,
    pub tables: tables::Tables,
    pub commands: pipelines::Commands,
    registry: schemas::Registry,
    supervisor: Supervisor,
}

impl Parts {
    /// Opens everything on `disk`, recovering what is there.
    pub async fn open(disk: &SimulatedDisk, runtime: &Runtime) -> Result<Self> {
        let shared: SharedDisk = Arc::new(disk.clone());
        let clock: SharedClock = Arc::new(SystemClock);
        let supervisor = Supervisor::new(runtime.handle().clone());
        let directory = DataDirectory::open_simulated(Arc::clone(&shared), Path::new(DATA))?;
        let control = Control::open(&shared, &layout::control_file(directory.path()))?;
        let warehouse = layout::warehouse_dir(directory.path());
        shared.create_dir_all(&warehouse)?;
        let log = topics::embedded::Deps { directory, control: control.clone(), clock: Arc::clone(&clock) };
        let topics = topics::Topics::open(small_log(), log, &supervisor)?;
        let registry = schemas::Registry::open(control.clone())?;
        let objects = Objects::local(shared, warehouse);
        let deps = tables::catalog::Deps { objects, control: control.clone(), clock: Arc::clone(&clock) };
        let tables = tables::Tables::open(tables::Settings::default(), deps)?;
        let compute = runtime.handle().clone();
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
            engine,
            control,
            clock,
            supervisor: supervisor.clone(),
            compute,
        })
        .await?;
        Ok(Self { topics, tables, commands, registry, supervisor })
    }

    /// Lets go of everything without closing anything.
    pub async fn abandon(self) {
        self.supervisor.stop(STOP_LIMIT).await;
    }

    /// A topic as table rows.
    pub fn rows(&self, topic: &str) -> Result<queries::TopicRows> {
        let info = self.topics.topic(topic).context("topic")?;
        Ok(queries::TopicRows::new(&self.topics, &self.registry, info)?)
    }

    /// Every record of a topic whose values are numbers.
    pub fn read_numbers(&self, topic: &str) -> Result<Vec<Read>> {
        let info = self.topics.topic(topic).context("topic")?;
        let mut found = Vec::new();
        for partition in 0..info.partitions {
            let handle = self.topics.partition(topic, partition).context("partition")?;
            let mut from = handle.marks().log_start;
            let end = handle.marks().durable;
            while from < end {
                let read = handle.read(from, end, 1 << 20)?;
                for batch in Batches::new(&read.bytes) {
                    let records = batch?.records(1 << 20)?;
                    for record in records.iter() {
                        let record = record?;
                        let number = std::str::from_utf8(record.value.context("value")?)?.parse()?;
                        found.push(Read { number, partition, offset: record.offset });
                    }
                }
                from = read.next;
            }
        }
        Ok(found)
    }

    /// The (partition, offset) pairs of every snapshot of a table, oldest first. `cache` holds what files were found
    /// to hold: data files never change.
    pub async fn snapshots(
        &self,
        table: &str,
        cache: &mut HashMap<String, Vec<(i32, i64)>>,
    ) -> Result<Vec<Vec<(i32, i64)>>> {
        let table = self.tables.load(&self.tables.ident(table)).await?;
        let mut all = Vec::new();
        for snapshot in table.snapshots() {
            let scan = self.tables.scan(&table, Some(snapshot.id)).await?;
            let mut pairs = Vec::new();
            for file in scan.files {
                if !cache.contains_key(&file.location) {
                    let bytes = self.tables.objects().get(&file.location).await?;
                    cache.insert(file.location.clone(), pairs_of(bytes)?);
                }
                pairs.extend(cache.get(&file.location).context("cached")?);
            }
            all.push(pairs);
        }
        Ok(all)
    }
}

/// Small files, so that rolling and releasing happen within few records.
fn small_log() -> topics::Settings {
    topics::Settings {
        segment_bytes: 4096,
        index_interval_bytes: 256,
        wal_file_bytes: 8192,
        recovery_bytes: 0,
        ..Default::default()
    }
}

/// One batch of numbers as values.
pub fn batch_of(numbers: std::ops::Range<u64>) -> Result<bytes::Bytes> {
    let mut batch = BatchBuilder::new();
    for number in numbers {
        batch.push(number as i64, None, Some(number.to_string().as_bytes()), &[]);
    }
    Ok(batch.build()?)
}

fn pairs_of(bytes: bytes::Bytes) -> Result<Vec<(i32, i64)>> {
    let mut pairs = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        let redpanda = batch.column_by_name("redpanda").context("redpanda")?.as_struct();
        let partitions =
            redpanda.column_by_name("partition").context("partition")?.as_primitive::<Int32Type>();
        let offsets = redpanda.column_by_name("offset").context("offset")?.as_primitive::<Int64Type>();
        pairs.extend(
            (0..batch.num_rows())
                .filter(|i| !offsets.is_null(*i))
                .map(|i| (partitions.value(i), offsets.value(i))),
        );
    }
    Ok(pairs)
}

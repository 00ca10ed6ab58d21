//! Figures for Prometheus, text format 0.0.4.
//!
//! Owns: names, units and labels. Own names begin with `frazil_` and carry their unit; the `kafka_topic_` family is
//! kafka_exporter's, so that existing dashboards find it.
//! Does not own: the counting (`pipelines::NodeStatus` is the source).

use std::fmt::{Display, Write};

use pipelines::NodeStatus;

/// Resident memory of this process, bytes; none where `/proc` is missing.
pub(super) fn resident_bytes() -> Option<u64> {
    // VmRSS comes in kB whatever the page size is; statm would need it.
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The whole answer of `/metrics`.
pub(super) fn render(status: &NodeStatus, resident_bytes: Option<u64>) -> String {
    let mut page = Page::default();
    page.family("frazil_build_info", "gauge", "Version of the program.");
    page.sample("frazil_build_info", &[("version", &status.version)], 1);
    page.family("frazil_uptime_seconds", "gauge", "Time since the start of the node.");
    page.sample("frazil_uptime_seconds", &[], status.uptime_ms as f64 / 1e3);
    page.family("frazil_log_online", "gauge", "1 while the log takes writes.");
    page.sample("frazil_log_online", &[], u8::from(status.offline.is_none()));
    page.family("frazil_alarms", "gauge", "Things that an operator should look at; the status tells them.");
    page.sample("frazil_alarms", &[], status.alarms.len());
    if let Some(bytes) = resident_bytes {
        page.family("process_resident_memory_bytes", "gauge", "Resident memory of the process.");
        page.sample("process_resident_memory_bytes", &[], bytes);
    }
    partitions(&mut page, status);
    tables(&mut page, status);
    pipelines(&mut page, status);
    page.0
}

fn partitions(page: &mut Page, status: &NodeStatus) {
    page.family("kafka_topic_partitions", "gauge", "Number of partitions of the topic.");
    for topic in &status.topics {
        page.sample("kafka_topic_partitions", &[("topic", &topic.name)], topic.partitions.len());
    }
    type Mark = fn(&pipelines::PartitionStatus) -> i64;
    let marks: [(&str, &str, Mark); 8] = [
        ("kafka_topic_partition_current_offset", "High watermark.", |p| p.durable),
        ("kafka_topic_partition_oldest_offset", "First offset that is kept.", |p| p.log_start),
        ("frazil_partition_log_start_offset", "First offset that is kept.", |p| p.log_start),
        ("frazil_partition_materialized_offset", "Below it, everything is in the topic's tables.", |p| {
            p.materialized
        }),
        ("frazil_partition_stable_offset", "Below it, no transaction is open.", |p| p.stable),
        ("frazil_partition_durable_offset", "Below it, everything is on disk.", |p| p.durable),
        ("frazil_partition_held_bytes", "Bytes that retention keeps for the topic's tables alone.", |p| {
            i64::try_from(p.held_bytes).unwrap_or(i64::MAX)
        }),
        ("frazil_partition_appended_offset", "Next offset to be given out.", |p| p.appended),
    ];
    for (name, help, mark) in marks {
        page.family(name, "gauge", help);
        for topic in &status.topics {
            for partition in &topic.partitions {
                let labels =
                    [("topic", topic.name.as_str()), ("partition", &partition.partition.to_string())];
                page.sample(name, &labels, mark(partition));
            }
        }
    }
    page.family("frazil_partition_size_bytes", "gauge", "Bytes of the partition's segments.");
    for topic in &status.topics {
        for partition in &topic.partitions {
            let labels = [("topic", topic.name.as_str()), ("partition", &partition.partition.to_string())];
            page.sample("frazil_partition_size_bytes", &labels, partition.size_bytes);
        }
    }
}

fn tables(page: &mut Page, status: &NodeStatus) {
    type Figure = fn(&pipelines::TableStatus) -> Option<f64>;
    let figures: [(&str, &str, &str, Figure); 8] = [
        ("frazil_table_lag_records", "gauge", "Stable offsets that are not committed yet.", |t| {
            Some(t.lag as f64)
        }),
        ("frazil_table_records", "gauge", "Rows in the current snapshot.", |t| Some(t.records as f64)),
        ("frazil_table_snapshots", "gauge", "Snapshots that are kept.", |t| Some(t.snapshots as f64)),
        ("frazil_table_dead_letters_total", "counter", "Records in the dead-letter table.", |t| {
            Some(t.dead_letters as f64)
        }),
        ("frazil_table_dropped_records_total", "counter", "Invalid records that were dropped.", |t| {
            Some(t.dropped as f64)
        }),
        (
            "frazil_table_skipped_offsets_total",
            "counter",
            "Offsets deleted before the table had them.",
            |t| Some(t.skipped as f64),
        ),
        ("frazil_table_last_commit_timestamp_seconds", "gauge", "When the last snapshot was made.", |t| {
            t.last_commit_ms.map(|ms| ms as f64 / 1e3)
        }),
        ("frazil_table_healthy", "gauge", "1 unless the table is diverged, rolled back or failing.", |t| {
            Some(if matches!(t.state.as_str(), "running" | "waiting") { 1.0 } else { 0.0 })
        }),
    ];
    for (name, kind, help, figure) in figures {
        page.family(name, kind, help);
        for table in &status.tables {
            if let Some(value) = figure(table) {
                page.sample(name, &[("topic", &table.topic), ("table", &table.table)], value);
            }
        }
    }
    page.family("frazil_table_state", "gauge", "1 for the state that the table is in.");
    for table in &status.tables {
        let labels = [("topic", table.topic.as_str()), ("table", &table.table), ("state", &table.state)];
        page.sample("frazil_table_state", &labels, 1);
    }
}

fn pipelines(page: &mut Page, status: &NodeStatus) {
    page.family("frazil_pipeline_runs_total", "counter", "Runs that published.");
    for pipeline in &status.pipelines {
        page.sample("frazil_pipeline_runs_total", &[("pipeline", &pipeline.name)], pipeline.runs);
    }
    page.family("frazil_pipeline_last_run_timestamp_seconds", "gauge", "When the last run was made.");
    for pipeline in &status.pipelines {
        if let Some(ms) = pipeline.last_run_ms {
            let labels = [("pipeline", pipeline.name.as_str())];
            page.sample("frazil_pipeline_last_run_timestamp_seconds", &labels, ms as f64 / 1e3);
        }
    }
    page.family("frazil_pipeline_last_run_records", "gauge", "Records that the last run published.");
    for pipeline in &status.pipelines {
        if let Some(rows) = pipeline.last_rows {
            page.sample("frazil_pipeline_last_run_records", &[("pipeline", &pipeline.name)], rows);
        }
    }
    page.family("frazil_pipeline_state", "gauge", "1 for the state that the pipeline is in.");
    for pipeline in &status.pipelines {
        let labels = [("pipeline", pipeline.name.as_str()), ("state", &pipeline.state)];
        page.sample("frazil_pipeline_state", &labels, 1);
    }
}

/// Text in the making. Writing to a `String` cannot fail, so its results are ignored.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// A label value, as the text format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_every_line_parses() {
        let status = NodeStatus {
            version: "0.1.0".into(),
            log_id: "x".into(),
            uptime_ms: 1500,
            offline: None,
            alarms: vec![],
            topics: vec![pipelines::TopicStatus {
                name: "trades".into(),
                id: "t".into(),
                partitions: vec![pipelines::PartitionStatus {
                    partition: 2,
                    log_start: 1,
                    materialized: 2,
                    stable: 3,
                    durable: 4,
                    appended: 5,
                    size_bytes: 6,
                    held_bytes: 7,
                }],
            }],
            tables: vec![pipelines::TableStatus {
                topic: "trades".into(),
                table: "public.\"odd\"\\\n".into(),
                state: "running".into(),
                message: None,
                snapshot_id: None,
                snapshots: 1,
                records: 2,
                lag: 3,
                dead_letters: 4,
                dropped: 5,
                skipped: 0,
                last_commit_ms: None,
            }],
            upkeep: pipelines::UpkeepStatus::default(),
            pipelines: vec![],
        };
        let text = render(&status, Some(4096));
        assert!(text.contains("frazil_uptime_seconds 1.5\n"), "{text}");
        assert!(
            text.contains("frazil_partition_stable_offset{topic=\"trades\",partition=\"2\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("kafka_topic_partition_current_offset{topic=\"trades\",partition=\"2\"} 4\n"));
        assert!(text.contains(r#"table="public.\"odd\"\\\n""#), "{text}");
        assert!(text.contains("process_resident_memory_bytes 4096\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').expect("name and value");
            value.parse::<f64>().expect("a number");
        }
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}

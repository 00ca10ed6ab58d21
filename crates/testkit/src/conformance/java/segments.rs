//! The files of the log, read by Kafka's own reader of such files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Facts, Tools};

/// What the reader prints when something is wrong. It ends with success all the same.
const COMPLAINTS: &[&str] = &[
    "Mismatches in",
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "Non-consecutive offsets",
    "could not be parsed",
    "isvalid: false",
    "should not contain",
    "Exception",
    "WARNING",
];

pub(super) fn dump(tools: &Tools<'_>) -> Facts {
    let topic = "segments";
    let writing = tools.on_another_node("java-node-for-dumps")?;
    writing.create(topic, &["--config", "segment.bytes=1048576"])?;
    let servers = format!("bootstrap.servers={}", super::bootstrap(&writing.node));
    for codec in ["none", "gzip", "lz4", "zstd"] {
        let codec = format!("compression.type={codec}");
        let props = ["--producer-props", &servers, &codec];
        let args = ["--topic", topic, "--num-records", "4000", "--record-size", "500", "--throughput", "-1"];
        let printed = tools.call("kafka-producer-perf-test", &[&args[..], &props].concat(), "")?;
        ensure!(printed.ok, "kafka-producer-perf-test: {}", printed.err);
    }
    let dir = directory_of(&writing, topic)?;
    // Once it has stopped, everything is in the segments.
    writing.node.stop()?;
    let mut files = list(&dir)?;
    files.sort();
    let of = |extension: &str| files.iter().filter(|f| f.extension().is_some_and(|e| e == extension)).count();
    ensure!(of("log") > 2, "the topic has {} segments", of("log"));
    let mut records = 0;
    for file in &files {
        records += dump_file(tools, file)?;
    }
    ensure!(records == 16_000, "{records} of 16000 records were found");
    let (logs, indexes, times) = (of("log"), of("index"), of("timeindex"));
    Ok(format!(
        "{records} records in {logs} segments, {indexes} offset and {times} time indexes, no complaint"
    ))
}

/// How many records the reader finds in a file, without a complaint.
fn dump_file(tools: &Tools<'_>, file: &Path) -> Result<usize> {
    let name = file.display().to_string();
    let args: &[&str] = match file.extension().and_then(|e| e.to_str()) {
        Some("log") => &["--deep-iteration", "--files", &name],
        Some("index" | "timeindex" | "txnindex") => &["--files", &name],
        _ => return Ok(0),
    };
    let printed = tools.call("kafka-dump-log", args, "")?;
    let text = printed.out.clone() + &printed.err;
    ensure!(printed.ok, "{name}: {}", super::super::tail(&text, 5));
    for complaint in COMPLAINTS {
        let line = text.lines().find(|line| line.contains(complaint));
        ensure!(line.is_none(), "{name}: {}", line.unwrap_or_default());
    }
    Ok(printed.lines_with("| offset: ").count())
}

/// The directory of the topic's one partition: it bears the topic's id.
fn directory_of(tools: &Tools<'_>, topic: &str) -> Result<PathBuf> {
    let described = tools.run("kafka-topics", &["--describe", "--topic", topic])?;
    let (_, rest) = described.out.split_once("TopicId: ").context("no topic id")?;
    let id = rest.split_whitespace().next().context("no topic id")?;
    let id = uuid_of(id).with_context(|| format!("{id} is no topic id"))?;
    Ok(tools.node.data_dir.join("log/topics").join(id).join("0"))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Kafka prints ids in base 64 without padding, in the alphabet for addresses.
fn uuid_of(text: &str) -> Option<String> {
    let mut bits: u128 = 0;
    let mut count = 0;
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        // 22 digits are 132 bits: the last 4 are filling.
        count += 1;
        bits =
            if count < 22 { (bits << 6) | u128::from(value) } else { (bits << 2) | u128::from(value >> 4) };
    }
    (count == 22).then(|| uuid::Uuid::from_u128(bits).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_translated() {
        let id = uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        // As Kafka's class Uuid prints it.
        assert_eq!(uuid_of("ASNFZ4mrTe-BI0VniavN7w"), Some(id.to_string()));
        assert_eq!(uuid_of("AS"), None);
    }
}

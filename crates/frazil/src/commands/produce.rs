//! `frazil topic produce`: lines of standard input as records.

use std::io::{self, BufRead, BufReader, Read};

use anyhow::bail;
use topics::cluster::{ClusterClient, ClusterError, Compression, ProduceRecord, ProducerSettings};

use super::Usage;
use super::template::LineTemplate;
use crate::cli::{Codec, ProduceArgs};

/// Longest line, bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Characters of a line that an error shows.
const LINE_SHOWN_MAX: usize = 200;
/// Most records handed over at once.
const BATCH_RECORDS_MAX: usize = 10_000;

pub(super) async fn run(client: &ClusterClient, args: ProduceArgs) -> anyhow::Result<()> {
    let template = LineTemplate::parse(&args.format).map_err(Usage)?;
    let compression = match args.compression {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    check_topic(client, &args).await?;
    let producer = client.producer(ProducerSettings { compression, ..ProducerSettings::default() })?;
    let mut line_number = 0;
    let mut input = Some(BufReader::with_capacity(1 << 20, io::stdin()));
    while let Some(reader) = input.take() {
        let (reader, lines) = tokio::task::spawn_blocking(move || read_lines(reader)).await??;
        if lines.is_empty() {
            break;
        }
        let mut records = Vec::with_capacity(lines.len());
        let mut misfit = None;
        for line in &lines {
            line_number += 1;
            match record(line, &template, &args) {
                Some(record) => records.push(record),
                None => {
                    misfit = Some(misfit_text(line_number, line, &args.format));
                    break;
                }
            }
        }
        producer.send(&args.topic, records).await?;
        if let Some(misfit) = misfit {
            let delivered = producer.flush().await?.acknowledged;
            bail!("{misfit}; {delivered} records before it were produced");
        }
        input = Some(reader);
    }
    let delivered = producer.flush().await?;
    let noun = if delivered.acknowledged == 1 { "record" } else { "records" };
    eprintln!("{} {noun} produced to {}", delivered.acknowledged, args.topic);
    for (partition, offset) in delivered.last_offsets {
        eprintln!("  partition {partition}: up to offset {offset}");
    }
    Ok(())
}

/// Metadata requests make topics: a mistyped name would become one unnoticed.
async fn check_topic(client: &ClusterClient, args: &ProduceArgs) -> anyhow::Result<()> {
    let found = client.topics().await?.into_iter().find(|t| t.name == args.topic);
    match (found, args.partition) {
        (None, _) if args.allow_auto_topic_creation => Ok(()),
        (None, _) => {
            let missing = ClusterError::UnknownTopic(args.topic.clone());
            bail!(
                "{missing}; make it with `frazil topic create {0}`, or give --allow-auto-topic-creation",
                args.topic
            )
        }
        (Some(topic), Some(partition))
            if usize::try_from(partition).map_or(true, |p| p >= topic.partitions) =>
        {
            bail!("topic {} has no partition {partition}: it has {}", topic.name, topic.partitions)
        }
        _ => Ok(()),
    }
}

/// The lines that are there: at least one unless the input has ended, more when they need no waiting.
fn read_lines<R: Read>(mut reader: BufReader<R>) -> io::Result<(BufReader<R>, Vec<Vec<u8>>)> {
    let mut lines = Vec::new();
    while lines.len() < BATCH_RECORDS_MAX && (lines.is_empty() || reader.buffer().contains(&b'\n')) {
        let mut line = Vec::new();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() as u64 == LINE_BYTES_MAX {
            return Err(io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
        }
        lines.push(line);
    }
    Ok((reader, lines))
}

fn misfit_text(number: u64, line: &[u8], format: &str) -> String {
    let shown: String = String::from_utf8_lossy(line).chars().take(LINE_SHOWN_MAX).collect();
    format!("line {number}, `{}`, does not fit the format `{format}`", shown.escape_debug())
}

/// None when the line does not fit the template.
fn record(line: &[u8], template: &LineTemplate, args: &ProduceArgs) -> Option<ProduceRecord> {
    let (key, value) = template.read(line)?;
    let key = key.map(<[u8]>::to_vec).or_else(|| args.key.as_ref().map(|k| k.as_bytes().to_vec()));
    let tombstone = args.tombstone && value.is_empty();
    Some(ProduceRecord {
        partition: args.partition,
        key: key.map(Into::into),
        value: (!tombstone).then(|| value.to_vec().into()),
        headers: args
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone().into_bytes().into())))
            .collect(),
        timestamp_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_without_waiting_for_more() {
        let (reader, lines) = read_lines(BufReader::new(&b"a\nb\n\nlast"[..])).expect("read");
        assert_eq!(lines, [b"a".to_vec(), b"b".to_vec(), b"".to_vec()]);
        let (reader, lines) = read_lines(reader).expect("read");
        assert_eq!(lines, [b"last".to_vec()]);
        assert!(read_lines(reader).expect("read").1.is_empty());
    }
}

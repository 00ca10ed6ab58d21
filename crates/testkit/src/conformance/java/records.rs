//! Records in and out, transactions.

use anyhow::{Context, ensure};

use super::{Facts, Tools};

const THREE: &str = "a:one\nb:two\nc:three\n";

pub(super) fn console(tools: &Tools<'_>) -> Facts {
    let topic = "console";
    tools.create(topic, &[])?;
    tools.produce(topic, THREE, &[])?;
    let read = tools.consume(topic, 3, &[])?;
    read.has("Offset:0\ta\tone")?.has("Offset:1\tb\ttwo")?.has("Offset:2\tc\tthree")?;
    // The topic is made by producing to it.
    tools.produce("console-made-by-use", "a:one\n", &["--producer-property", "enable.idempotence=true"])?;
    tools.consume("console-made-by-use", 1, &[])?.has("Offset:0\ta\tone")?;
    Ok("3 records, keys and offsets; a topic made by use".into())
}

pub(super) fn codecs(tools: &Tools<'_>) -> Facts {
    let topic = "codecs";
    tools.create(topic, &[])?;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        tools.produce(topic, &format!("{codec}:{}\n", "x".repeat(500)), &["--compression-codec", codec])?;
    }
    let read = tools.consume(topic, codecs.len(), &[])?;
    for (offset, codec) in codecs.iter().enumerate() {
        read.has(&format!("Offset:{offset}\t{codec}\txxx"))?;
    }
    Ok(codecs.join(", "))
}

/// The end of partition 0 by `kafka-get-offsets`.
fn offset(tools: &Tools<'_>, topic: &str, time: &str) -> anyhow::Result<i64> {
    let printed = tools.run("kafka-get-offsets", &["--topic", topic, "--time", time])?;
    let of_partition = format!("{topic}:0:");
    let line = printed.lines_with(&of_partition).next().context("no line for partition 0")?;
    line.rsplit(':').next().unwrap_or_default().trim().parse().context(line.to_owned())
}

pub(super) fn offsets(tools: &Tools<'_>) -> Facts {
    let topic = "offsets";
    tools.create(topic, &[])?;
    tools.produce(topic, THREE, &[])?;
    for (time, expected) in
        [("-1", 3), ("-2", 0), ("latest", 3), ("earliest", 0), ("max-timestamp", 2), ("1", 0)]
    {
        let found = offset(tools, topic, time)?;
        // Records of one batch may bear one time: then the last is any of them.
        let right = found == expected || (time == "max-timestamp" && (0..3).contains(&found));
        ensure!(right, "--time {time}: {found}, not {expected}");
    }
    Ok("latest, earliest, max-timestamp, by time".into())
}

pub(super) fn delete_records(tools: &Tools<'_>) -> Facts {
    let topic = "deleted";
    tools.create(topic, &[])?;
    tools.produce(topic, THREE, &[])?;
    let plan = r#"{"partitions": [{"topic": "deleted", "partition": 0, "offset": 2}], "version": 1}"#;
    let file = tools.file("delete.json", plan)?;
    tools.run("kafka-delete-records", &["--offset-json-file", &file])?.has("low_watermark: 2")?;
    ensure!(offset(tools, topic, "-2")? == 2, "the log does not start at 2");
    let read = tools.consume(topic, 1, &[])?;
    read.has("Offset:2\tc\tthree")?;
    Ok("low watermark 2, the rest is read".into())
}

pub(super) fn verifiable(tools: &Tools<'_>) -> Facts {
    let topic = "verifiable";
    tools.create(topic, &["--partitions", "2"])?;
    let produced = tools
        .run("kafka-verifiable-producer", &["--topic", topic, "--max-messages", "1000", "--acks", "-1"])?;
    let acked = produced.lines_with("\"producer_send_success\"").count();
    ensure!(acked == 1000, "{acked} of 1000 were acknowledged");
    let consumed = tools.run(
        "kafka-verifiable-consumer",
        &[
            "--topic",
            topic,
            "--group-id",
            "verifiable",
            "--max-messages",
            "1000",
            "--reset-policy",
            "earliest",
        ],
    )?;
    let count: i64 = consumed
        .lines_with("\"records_consumed\"")
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["count"].as_i64())
        .sum();
    ensure!(count == 1000, "{count} of 1000 were consumed");
    consumed.has("\"partitions_assigned\"")?.has("\"offsets_committed\"")?;
    Ok("1000 acknowledged, 1000 consumed".into())
}

pub(super) fn transactions(tools: &Tools<'_>) -> Facts {
    let topic = "transactions";
    tools.create(topic, &[])?;
    let servers = format!("bootstrap.servers={}", super::bootstrap(&tools.node));
    let producing = [
        "--topic",
        topic,
        "--num-records",
        "500",
        "--record-size",
        "100",
        "--throughput",
        "-1",
        "--transactional-id",
        "checked",
        "--transaction-duration-ms",
        "50",
        "--producer-props",
        &servers,
    ];
    let perf = tools.call("kafka-producer-perf-test", &producing, "")?;
    ensure!(perf.ok, "kafka-producer-perf-test: {} {}", perf.out, perf.err);
    perf.has("500 records sent")?;
    tools.run("kafka-transactions", &["list"])?.has("checked")?.has("CompleteCommit")?;
    let described = tools.run("kafka-transactions", &["describe", "--transactional-id", "checked"])?;
    described.has("CompleteCommit")?;
    let producers =
        tools.run("kafka-transactions", &["describe-producers", "--topic", topic, "--partition", "0"])?;
    producers.has("ProducerId")?;
    let hanging = tools.run("kafka-transactions", &["find-hanging", "--broker-id", "0"])?;
    ensure!(hanging.out.lines().filter(|l| l.contains(topic)).count() == 0, "hanging: {}", hanging.out);
    let read = tools.consume(topic, 500, &["--isolation-level", "read_committed"])?;
    let count = read.lines_with("Offset:").count();
    ensure!(count == 500, "{count} of 500 are read committed");
    Ok("500 records in transactions, listed, described, read committed".into())
}

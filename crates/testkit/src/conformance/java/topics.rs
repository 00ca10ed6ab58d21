//! Topics, their properties, the node itself.

use anyhow::ensure;

use super::{Facts, Tools};

pub(super) fn api_versions(tools: &Tools<'_>) -> Facts {
    let printed = tools.run("kafka-broker-api-versions", &[])?;
    printed.has("Produce(0): ")?.has("Fetch(1): ")?.has("ApiVersions(18): ")?;
    let usable = printed.lines_with("[usable: ").count();
    ensure!(usable > 20, "only {usable} apis are usable");
    Ok(format!("{usable} apis usable"))
}

pub(super) fn cluster(tools: &Tools<'_>) -> Facts {
    let id = tools.call(
        "kafka-cluster",
        &["cluster-id", "--bootstrap-server", &super::bootstrap(&tools.node)],
        "",
    )?;
    id.has("Cluster ID: ")?;
    Ok(id.out.trim().to_owned())
}

pub(super) fn life_of_a_topic(tools: &Tools<'_>) -> Facts {
    let topic = "life";
    tools.create(
        topic,
        &["--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=100000"],
    )?;
    let listed = tools.run("kafka-topics", &["--list"])?;
    ensure!(listed.out.lines().any(|line| line == topic), "the topic is not listed: {}", listed.out);
    let described = tools.run("kafka-topics", &["--describe", "--topic", topic])?;
    described.has("PartitionCount: 3")?.has("ReplicationFactor: 1")?.has("retention.ms=100000")?;
    ensure!(described.lines_with("Leader: ").count() == 3, "three leaders: {}", described.out);
    tools.run("kafka-topics", &["--alter", "--topic", topic, "--partitions", "5"])?;
    tools.run("kafka-topics", &["--describe", "--topic", topic])?.has("PartitionCount: 5")?;
    for under in ["--under-replicated-partitions", "--unavailable-partitions"] {
        let none = tools.run("kafka-topics", &["--describe", under])?;
        ensure!(none.out.trim().is_empty(), "{under}: {}", none.out);
    }
    for (args, word) in [
        (["--create", "--topic", topic, "--partitions", "1"], "life exists"),
        (["--alter", "--topic", topic, "--partitions", "2"], "5"),
        (["--create", "--topic", "no/slash", "--partitions", "1"], "no/slash"),
        (["--create", "--topic", "copies", "--replication-factor", "3"], "eplication"),
    ] {
        let refused = tools.try_run("kafka-topics", &args, "")?;
        let text = refused.out + &refused.err;
        ensure!(!refused.ok && text.contains(word), "{args:?} should say `{word}`: {text}");
    }
    tools.run("kafka-topics", &["--delete", "--topic", topic])?;
    let listed = tools.run("kafka-topics", &["--list"])?;
    ensure!(!listed.out.lines().any(|line| line == topic), "the topic is still listed");
    Ok("created, listed, described, grown, deleted; four mistakes refused by name".into())
}

pub(super) fn topic_properties(tools: &Tools<'_>) -> Facts {
    let topic = "properties";
    tools.create(topic, &[])?;
    let of = ["--entity-type", "topics", "--entity-name", topic];
    let with = |args: &[&str]| tools.run("kafka-configs", &[args, &of].concat());
    with(&["--alter", "--add-config", "max.message.bytes=2000,cleanup.policy=[compact,delete]"])?
        .has("Completed updating config for topic properties.")?;
    with(&["--describe"])?
        .has("max.message.bytes=2000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000")?
        .has("cleanup.policy=compact,delete")?;
    let all = with(&["--describe", "--all"])?;
    all.has("segment.bytes=")?.has("retention.ms=604800000 sensitive=false synonyms={")?;
    let count = all.lines_with("sensitive=false").count();
    ensure!(count > 20, "only {count} properties");
    with(&["--alter", "--delete-config", "max.message.bytes"])?;
    let rest = with(&["--describe"])?;
    ensure!(!rest.out.contains("max.message.bytes"), "it is still set: {}", rest.out);
    let wrong = tools.try_run(
        "kafka-configs",
        &[&["--alter", "--add-config", "max.mesage.bytes=1"], &of[..]].concat(),
        "",
    )?;
    let text = wrong.out + &wrong.err;
    ensure!(text.contains("max.mesage.bytes"), "an unknown property is not named: {text}");
    Ok(format!("set, shown with synonyms, reset; {count} properties in all"))
}

pub(super) fn broker_properties(tools: &Tools<'_>) -> Facts {
    let args = ["--entity-type", "brokers", "--entity-name", "0", "--describe", "--all"];
    let all = tools.run("kafka-configs", &args)?;
    all.has("num.partitions=1 ")?.has("advertised.listeners=PLAINTEXT://")?;
    Ok(format!("{} properties", all.lines_with("sensitive=").count()))
}

pub(super) fn log_dirs(tools: &Tools<'_>) -> Facts {
    let topic = "dirs";
    tools.create(topic, &["--partitions", "2"])?;
    tools.produce(topic, "a:1\nb:2\n", &[])?;
    let printed = tools.run("kafka-log-dirs", &["--describe", "--topic-list", topic])?;
    let json = printed.out.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let found: serde_json::Value = serde_json::from_str(json)?;
    let dir = &found["brokers"][0]["logDirs"][0];
    ensure!(dir["error"].is_null(), "{json}");
    let partitions = dir["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = partitions.iter().map(|p| p["partition"].as_str().unwrap_or_default()).collect();
    ensure!(partitions.len() == 2 && names.iter().all(|n| n.starts_with("dirs-")), "{json}");
    let size: i64 = partitions.iter().filter_map(|p| p["size"].as_i64()).sum();
    ensure!(size > 0, "two records take no room: {json}");
    Ok(format!("2 partitions, {size} bytes"))
}

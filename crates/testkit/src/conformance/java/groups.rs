//! Consumer groups.

use anyhow::ensure;

use super::{Facts, Tools};

const THREE: &str = "a:one\nb:two\nc:three\n";

/// Makes a topic with three records and a group that has read them.
fn consumed(tools: &Tools<'_>, topic: &str, group: &str) -> anyhow::Result<()> {
    tools.create(topic, &[])?;
    tools.produce(topic, THREE, &[])?;
    tools.consume(topic, 3, &["--group", group])?.has("Offset:2\tc\tthree")?;
    Ok(())
}

pub(super) fn life_of_a_group(tools: &Tools<'_>) -> Facts {
    let (topic, group) = ("group-life", "life");
    consumed(tools, topic, group)?;
    let listed = tools.run("kafka-consumer-groups", &["--list"])?;
    ensure!(listed.out.lines().any(|line| line == group), "the group is not listed: {}", listed.out);
    // Partition, stored offset, end, lag.
    let row = |printed: &super::Printed| {
        let line = printed.lines_with(topic).next().unwrap_or_default().to_owned();
        line.split_whitespace().skip(2).take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    let described = tools.run("kafka-consumer-groups", &["--describe", "--group", group])?;
    ensure!(row(&described) == ["0", "3", "3", "0"], "{}", described.out);
    tools.run("kafka-consumer-groups", &["--describe", "--state", "--group", group])?.has("Empty")?;
    let all = ["--group", group, "--topic", topic, "--execute", "--reset-offsets"];
    tools.run("kafka-consumer-groups", &[&all[..], &["--to-offset", "1"]].concat())?.has(topic)?;
    let described = tools.run("kafka-consumer-groups", &["--describe", "--group", group])?;
    ensure!(row(&described) == ["0", "1", "3", "2"], "{}", described.out);
    tools.run("kafka-consumer-groups", &["--delete-offsets", "--group", group, "--topic", topic])?;
    let described = tools.try_run("kafka-consumer-groups", &["--describe", "--group", group], "")?;
    ensure!(row(&described).is_empty(), "offsets are still there: {}", described.out);
    consumed(tools, "group-life-again", group)?;
    tools
        .run("kafka-consumer-groups", &["--delete", "--group", group])?
        .has("Deletion of requested consumer groups ('life') was successful.")?;
    let listed = tools.run("kafka-consumer-groups", &["--list"])?;
    ensure!(!listed.out.lines().any(|line| line == group), "the group is still listed");
    Ok("listed, described, reset, offsets deleted, deleted".into())
}

pub(super) fn members(tools: &Tools<'_>) -> Facts {
    let (topic, group) = ("group-members", "members");
    tools.create(topic, &["--partitions", "2"])?;
    let seen = std::thread::scope(|scope| {
        // It reads for some seconds and then gives up: meanwhile the group has a member.
        let args = ["--topic", topic, "--group", group, "--timeout-ms", "15000"];
        let consumer = scope.spawn(move || tools.try_run("kafka-console-consumer", &args, ""));
        let mut seen = String::new();
        for _ in 0..5 {
            let printed =
                tools.try_run("kafka-consumer-groups", &["--describe", "--members", "--group", group], "")?;
            if printed.out.contains("console-consumer") {
                seen = printed.out;
                break;
            }
        }
        consumer.join().expect("it does not panic").map(|_| seen)
    })?;
    let row = seen.lines().find(|line| line.starts_with(group)).unwrap_or_default().to_owned();
    ensure!(row.split_whitespace().last() == Some("2"), "one member with two partitions: {seen}");
    Ok("a member with two partitions".into())
}

pub(super) fn list(tools: &Tools<'_>) -> Facts {
    consumed(tools, "group-list", "listed")?;
    let printed = tools.run("kafka-groups", &["--list"])?;
    let row = printed.lines_with("listed").next().unwrap_or_default().to_owned();
    ensure!(row.contains("Classic") && row.contains("consumer"), "{}", printed.out);
    Ok("type and protocol".into())
}

//! Consumer groups of real clients: members that come and go, and nodes that do.

use anyhow::{Context, Result, ensure};
use testkit::outside::{kcat, python};

use crate::world::{World, long};

fn address(world: &World) -> String {
    format!("127.0.0.1:{}", world.ports.kafka())
}

#[test]
fn clients_share_topics_as_groups() -> Result<()> {
    let world = World::new("groups")?;
    let node = world.start()?;
    let address = address(&world);
    print!("{}", python("kafka_groups.py", &[&address, "clients"], "")?);

    world.frazil(&["topic", "create", "cats", "-p", "3"])?;
    let input: String = (0..30).map(|n| format!("{n}\n")).collect();
    kcat(&["-b", &address, "-t", "cats", "-P"], &input)?;
    let consume = ["-b", &address, "-G", "kittens", "-e", "-q", "-X", "auto.offset.reset=earliest", "cats"];
    let first = kcat(&consume, "")?;
    ensure!(first.lines().count() == 30, "kcat -G reads {} of 30 records", first.lines().count());
    let second = kcat(&consume, "")?;
    ensure!(second.is_empty(), "kcat -G reads again: {second}");
    node.stop()
}

#[test]
fn many_members_come_and_go_and_each_record_is_consumed_once() -> Result<()> {
    let world = World::new("churn")?;
    let node = world.start()?;
    let members = if long() { "200" } else { "60" };
    print!("{}", python("kafka_groups.py", &[&address(&world), "churn", members], "")?);
    node.stop()
}

/// kill -9 of the node and of its consumers: they go on where they stored that they were.
#[test]
fn groups_go_on_from_stored_offsets_after_kill_9() -> Result<()> {
    let world = World::new("groups-kill")?;
    let mut node = world.start()?;
    let address = address(&world);
    world.frazil(&["topic", "create", "work", "-p", "4"])?;
    let input: String = (0..400).map(|n| format!("{n}\n")).collect();
    kcat(&["-b", &address, "-t", "work", "-P"], &input)?;
    let mut seen = Vec::new();
    for round in 0..4 {
        let scenario = if round == 0 { "begin" } else { "resume" };
        let text = python("kafka_groups.py", &[&address, scenario, "work", "crew", "100"], "")?;
        for word in text.split_whitespace() {
            seen.push(word.parse::<u32>().context("a number")?);
        }
        node.kill()?;
        node = world.start()?;
    }
    seen.sort_unstable();
    ensure!(seen == (0..400).collect::<Vec<_>>(), "consumed {} records: {seen:?}", seen.len());
    node.stop()
}

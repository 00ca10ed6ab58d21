//! The schema registry, judged by clients that nobody here wrote.

use anyhow::{Result, ensure};
use serde_json::Value;
use testkit::outside::python;

use crate::world::World;

#[test]
fn confluents_client_finds_all_it_asks_for() -> Result<()> {
    let world = World::new("registry-client")?;
    let _node = world.start()?;
    let printed = python("registry_confluent.py", &[&world.ports.registry().to_string()], "")?;
    ensure!(printed.contains("registry: ok"), "{printed}");
    Ok(())
}

#[test]
fn confluents_serializers_read_what_they_wrote() -> Result<()> {
    let world = World::new("registry-serializers")?;
    let _node = world.start()?;
    for topic in ["avro", "json", "protobuf", "protobuf-references"] {
        world.frazil(&["topic", "create", topic, "-p", "2"])?;
    }
    let (kafka, registry) = (world.ports.kafka().to_string(), world.ports.registry().to_string());
    let printed = python("registry_serializers.py", &[&kafka, &registry], "")?;
    for topic in ["avro", "json", "protobuf", "protobuf-references"] {
        ensure!(printed.contains(&format!("{topic}: 20 values")), "{printed}");
    }
    Ok(())
}

#[test]
fn the_command_line_covers_a_subjects_life() -> Result<()> {
    let world = World::new("registry-cli")?;
    let _node = world.start()?;
    let file = world.path("a.avsc");
    let record = |fields: &str| format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    std::fs::write(&file, record(r#"{"name":"a","type":"int"}"#))?;
    let path = file.display().to_string();
    let run = |line: &str| {
        let args: Vec<&str> =
            line.split(' ').map(|word| if word == "FILE" { path.as_str() } else { word }).collect();
        world.frazil(&[&["registry"], args.as_slice()].concat())
    };
    let created: Value = serde_json::from_str(&run("schema create s --schema FILE -o json")?)?;
    ensure!(created[0]["id"] == 1 && created[0]["version"] == 1, "{created}");
    std::fs::write(&file, record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#))?;
    let refused = run("schema check-compatibility s --schema FILE").map_err(|e| e.to_string());
    ensure!(refused.as_ref().is_err_and(|e| e.contains("READER_FIELD_MISSING_DEFAULT_VALUE")), "{refused:?}");
    ensure!(run("schema create s --schema FILE").is_err(), "incompatible");
    ensure!(run("compatibility-level set s --level NONE")?.trim() == "s: NONE");
    ensure!(run("compatibility-level get s")?.contains("NONE"));
    ensure!(run("schema check s --schema FILE")?.trim() == "s: compatible");
    run("schema create s --schema FILE")?;
    ensure!(run("schema get s --print-schema")?.contains(r#""name":"b""#));
    ensure!(run("schema list")?.lines().count() == 4, "{}", run("schema list")?);
    ensure!(run("schema get --id 2 -o json")?.contains("guid"));
    ensure!(run("mode set s --mode READONLY")?.trim() == "s: READONLY");
    ensure!(run("subject delete s").is_err(), "read-only");
    run("mode reset s")?;
    run("schema delete s --schema-version 1")?;
    run("schema delete s --schema-version 1 --permanent")?;
    ensure!(run("subject list -o json")?.trim() == r#"["s"]"#);
    ensure!(run("subject delete s")?.contains("[2] deleted"));
    ensure!(run("schema list --deleted -o json")?.contains("\"deleted\":true"));
    ensure!(run("context list -o json")?.trim() == r#"["."]"#);
    Ok(())
}

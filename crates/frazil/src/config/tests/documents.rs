//! What the documents and the examples show is valid, and the documents name every key.

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/configuration.md")).expect("docs/configuration.md")
}

/// The first block of YAML in a document.
fn yaml_of(document: &str) -> &str {
    let (_, rest) = document.split_once("```yaml\n").expect("a block of YAML");
    rest.split_once("```").expect("the block ends").0
}

#[test]
fn the_documented_example_is_valid() {
    let trading = root().join("examples/trading");
    let read = |name: &str| std::fs::read_to_string(trading.join(name)).expect("a file of the example");
    let place = Directory::new(&[("frazil.yaml", yaml_of(&document()))]);
    for name in ["schemas/trades.schema.json", "pipelines/trade_analytics.sql"] {
        let copy = place.0.join(name);
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("folder");
        std::fs::write(copy, read(name)).expect("copy");
    }
    let config = place.load("frazil.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((config.topics.len(), config.pipelines.len()), (1, 1));
    assert!(config.topics[0].schema.is_some());
}

#[test]
fn every_key_is_documented() {
    let document = document();
    let example = yaml_of(&document);
    let keys = [
        BLOCKS,
        topics::KEYS,
        topics::ICEBERG_KEYS,
        pipelines::KEYS,
        pipelines::INTO_KEYS,
        server::DOORS,
        server::BROKER_KEYS,
    ];
    for key in keys.into_iter().flatten() {
        let words = |line: &str| line.split([' ', '{', '[', ',']).any(|word| word == format!("{key}:"));
        assert!(example.lines().any(words), "docs/configuration.md does not show `{key}`");
    }
}

#[test]
fn the_worked_example_is_valid() {
    let trading = root().join("examples/trading");
    let config = Config::load(&trading).unwrap_or_else(|problems| panic!("{problems}"));
    let topics: Vec<&str> = config.topics.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(topics, ["trades", "trade_analytics"]);
    assert_eq!(config.pipelines[0].spec.into.topic, "trade_analytics");
    // Its data fits its schema.
    let schema = schemas::RegisteredSchema {
        id: 1,
        schema_type: schemas::SchemaType::Json,
        schema: config.topics[0].schema.clone().expect("a schema").text,
        references: Vec::new(),
    };
    schemas::Decoder::new(
        &schemas::ResolvedSchema::alone(schema.clone()),
        &schemas::DecodeOptions::default(),
    )
    .expect("a schema of columns");
    let data = std::fs::read_to_string(trading.join("trades.ndjson")).expect("data");
    let schema: serde_json::Value = serde_json::from_str(&schema.schema).expect("JSON");
    for line in data.lines() {
        let trade: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for name in schema["required"].as_array().expect("required") {
            assert!(trade.get(name.as_str().expect("a name")).is_some(), "{line} lacks {name}");
        }
    }
}

mod documents;

use ::pipelines::{PublishMode, Trigger};

use super::*;

/// A directory that is removed with its guard.
struct Directory(PathBuf);

impl Directory {
    fn new(files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("frazil-config-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).expect("directory");
        for (name, text) in files {
            std::fs::write(path.join(name), text).expect("file");
        }
        Self(path)
    }

    fn load(&self, name: &str) -> Result<Config, Problems> {
        let variables = |name: &str| match name {
            "PARTITIONS" => Some("6".to_owned()),
            "KAFKA_ADMIN_PASSWORD" | "ROOT_SECRET" => Some("a password".to_owned()),
            _ => None,
        };
        Config::load_with(&self.0.join(name), &variables)
    }

    /// Problems of a file as `line: key: reason`.
    fn problems(&self, name: &str) -> Vec<String> {
        let problems = self.load(name).expect_err("must be refused");
        problems.list().iter().map(|p| format!("{}: {}: {}", p.place.line, p.key, p.reason)).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SCHEMA: &str = r#"{"type": "object", "properties": {"symbol": {"type": "string"}}}"#;

const GOOD: &str = r#"
version: 1
name: trading
topics:
  trades:
    partitions: ${PARTITIONS}
    retention: 24h
    schema:
      value: trade.schema.json
    iceberg:
      mode: value_schema_latest
      partition_by: [symbol]
      target_lag: 30s
      on_invalid: dlq_table
      delete_with_topic: false
    config:
      cleanup.policy: delete
      max.message.bytes: 1048576
  plain:
pipelines:
  per_symbol:
    description: trades per symbol
    sql_file: per_symbol.sql
    trigger: { on_commit: [trades] }
    into:
      topic: per_symbol
      key: [symbol]
      format: json
      mode: upsert
      iceberg: { mode: key_value }
    on_error: { retry: 3, then: pause }
server:
  listen: { kafka: "127.0.0.1:19092", http: 18080 }
  kafka:
    num.partitions: 4
    auto.create.topics.enable: false
    replication.factor.max: 3
    group.initial.rebalance.delay.ms: 0
    group.min.session.timeout.ms: 1000
    group.max.session.timeout.ms: 2000
    group.max.size: 5
    offsets.retention.minutes: 3
observability:
  logs: { level: debug }
"#;

fn good() -> Directory {
    Directory::new(&[
        ("frazil.yaml", GOOD),
        ("trade.schema.json", SCHEMA),
        ("per_symbol.sql", "SELECT symbol, count(*) AS n FROM trades GROUP BY symbol"),
    ])
}

#[test]
fn the_whole_form_is_read() {
    let config = good().load("frazil.yaml").expect("valid");
    assert_eq!(config.name.as_deref(), Some("trading"));
    let trades = &config.topics[0];
    assert_eq!((trades.name.as_str(), trades.partitions), ("trades", Some(6)));
    for (key, value) in [
        ("retention.ms", "86400000"),
        ("redpanda.iceberg.mode", "value_schema_latest"),
        ("redpanda.iceberg.partition.spec", "(symbol)"),
        ("redpanda.iceberg.target.lag.ms", "30000"),
        ("redpanda.iceberg.invalid.record.action", "dlq_table"),
        ("redpanda.iceberg.delete", "false"),
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "1048576"),
    ] {
        assert_eq!(trades.config.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(trades.schema.as_ref().map(|s| s.text.as_str()), Some(SCHEMA));
    assert!(config.topics[1].config.is_empty());
    let pipeline = &config.pipelines[0];
    assert_eq!(pipeline.spec.trigger, Trigger::OnCommit(vec!["trades".into()]));
    assert_eq!(pipeline.spec.into.mode, PublishMode::Upsert);
    assert_eq!(pipeline.spec.on_error.retry, 3);
    assert!(pipeline.spec.sql.starts_with("SELECT symbol"));
    assert_eq!(
        (config.listen.kafka, config.listen.http, config.listen.postgres),
        (Some(19_092), Some(18_080), None)
    );
    let mut log = ::topics::Settings::default();
    config.broker.apply(&mut log);
    let set = (log.partitions_default, log.auto_create_topics, log.replication_factor_max);
    assert_eq!(set, (4, false, 3));
    let groups = &log.groups;
    let sessions = (groups.session_timeout_min.as_millis(), groups.session_timeout_max.as_millis());
    let times = (groups.initial_rebalance_delay.as_millis(), groups.offsets_retention.as_secs());
    assert_eq!((sessions, times, groups.members_max), ((1_000, 2_000), (0, 180), 5));
    assert_eq!(config.log_level.as_deref(), Some("debug"));
}

#[test]
fn the_shortest_session_is_no_longer_than_the_longest() {
    let text = "version: 1\nserver:\n  kafka: { group.max.session.timeout.ms: 5999 }\n";
    let problems = Directory::new(&[("frazil.yaml", text)]).problems("frazil.yaml");
    assert!(problems[0].contains("6000 is more than group.max.session.timeout.ms, 5999"), "{problems:?}");
    let text = text.replace("5999", "6000");
    Directory::new(&[("frazil.yaml", &text)]).load("frazil.yaml").expect("valid");
}

#[test]
fn a_directory_is_merged_and_doubles_are_refused() {
    let one = "version: 1\ntopics:\n  a: { partitions: 1 }\n";
    let two = "version: 1\ntopics:\n  b:\n    partitions: 2\n";
    let directory = Directory::new(&[("1.yaml", one), ("2.yml", two), ("notes.txt", "x")]);
    let config = directory.load("").expect("valid");
    assert_eq!(config.topics.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let again = Directory::new(&[("1.yaml", one), ("2.yaml", "version: 1\ntopics:\n  c: {}\n  a: {}\n")]);
    let problems = again.problems("");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("4: topics.a: is declared twice, first at "), "{problems:?}");
    assert!(problems[0].ends_with("1.yaml:3"), "{problems:?}");
    assert!(Directory::new(&[]).problems("")[0].contains("no *.yaml"));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let text = "version: 1\ntopics:\n  trades:\n    partitons: 3\n    iceberg:\n      mode: key_value\n      lag: 3s\n";
    let directory = Directory::new(&[("frazil.yaml", text)]);
    let problems = directory.problems("frazil.yaml");
    assert_eq!(
        problems,
        [
            "4: topics.trades.partitons: unknown key; did you mean `partitions`?",
            "7: topics.trades.iceberg.lag: unknown key; known are mode, partition_by, target_lag, on_invalid, \
             delete_with_topic",
        ]
    );
    let shown = directory.load("frazil.yaml").expect_err("refused").to_string();
    assert!(
        shown.lines().next().is_some_and(|l| l.contains("frazil.yaml:4: topics.trades.partitons: ")),
        "{shown}"
    );
}

#[test]
fn blocks_of_later_versions_are_named_as_such() {
    for block in ["connectors", "tables", "ingest", "generators", "services", "secrets"] {
        let text = format!("version: 1\n{block}:\n  x: {{}}\n");
        let problems = Directory::new(&[("frazil.yaml", &text)]).problems("frazil.yaml");
        assert_eq!(problems, [format!("2: {block}: is not available yet in this version")]);
    }
}

#[test]
fn every_problem_is_listed_with_its_line() {
    let text = r#"version: 2
topics:
  "bad name": {}
  t:
    partitions: none
    retention: soon
    schema: { value: missing.json }
    config: { cleanup.policy: [a] }
pipelines:
  p:
    sql: SELECT 1
    trigger: { every: often }
    into: { topic: t, mode: upsert, format: avro }
  q:
    into: {}
server:
  listen: { kafka: 0.0.0.0:9092 }
"#;
    let problems = Directory::new(&[("frazil.yaml", text)]).problems("frazil.yaml");
    for (line, part) in [
        ("1: version", "version 1"),
        ("3: topics.bad name", "no topic name"),
        ("5: topics.t.partitions", "no whole number"),
        ("6: topics.t.retention", "does not start with a number"),
        ("7: topics.t.schema.value", "cannot be read"),
        ("8: topics.t.config.cleanup.policy", "single value"),
        ("12: pipelines.p.trigger.every", "does not start with a number"),
        ("13: pipelines.p.into.format", "not available yet"),
        ("13: pipelines.p.into.key", "missing"),
        ("14: pipelines.q.sql", "missing"),
        ("14: pipelines.q.trigger", "missing"),
        ("15: pipelines.q.into.topic", "missing"),
        ("17: server.listen.kafka", "server.kafka.authentication"),
    ] {
        assert!(
            problems.iter().any(|p| p.starts_with(&format!("{line}: ")) && p.contains(part)),
            "{line} … {part} is not among {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 13, "{problems:#?}");
}

#[test]
fn schemas_and_properties_are_checked_offline() {
    let text = r#"version: 1
topics:
  a:
    schema: { value: broken.json }
    iceberg: { mode: value_schema_latest }
  b:
    iceberg: { mode: value_schema_latest }
  c:
    config: { retention.msec: 5 }
  d:
    config: { redpanda.iceberg.mode: sideways }
  e:
    iceberg:
      mode: "value:mode=text"
      on_invalid: dlq
pipelines:
  p:
    sql: SELECT 1
    trigger: { every: 0s }
    into: { topic: out, config: { retention.ms: long } }
"#;
    let problems = Directory::new(&[("frazil.yaml", text), ("broken.json", "{")]).problems("frazil.yaml");
    for (line, part) in [
        ("4: topics.a.schema.value", "no JSON"),
        ("6: topics.b.schema", "takes its columns from it"),
        ("9: topics.c.config.retention.msec", "retention.ms"),
        ("11: topics.d.config.redpanda.iceberg.mode", "sideways"),
        ("14: topics.e.iceberg.mode", "there are binary, string"),
        ("15: topics.e.iceberg.on_invalid", "dlq_table"),
        ("19: pipelines.p.trigger.every", "the shortest is 10ms"),
    ] {
        assert!(
            problems.iter().any(|p| p.starts_with(&format!("{line}: ")) && p.contains(part)),
            "{line} … {part} is not among {problems:#?}"
        );
    }
}

#[test]
fn references_and_circles_are_checked() {
    let text = r#"version: 1
topics:
  trades: {}
pipelines:
  lost:
    sql: SELECT 1
    trigger: { on_commit: [trade] }
    into: { topic: lost }
  there:
    sql: SELECT 1
    trigger: { on_commit: [b] }
    into: { topic: a }
  back:
    sql: SELECT 1
    trigger: { on_commit: [a] }
    into: { topic: b }
  two:
    sql: SELECT 1; SELECT 2
    trigger: { every: 5s }
    into: { topic: two }
  wrong:
    sql: SELEC 1
    trigger: { every: 5s }
    into: { topic: wrong }
  own:
    sql: SELECT * FROM own CROSS JOIN nothing CROSS JOIN pg_catalog.pg_class
    trigger: { every: 5s }
    into: { topic: own }
"#;
    let problems = Directory::new(&[("frazil.yaml", text)]).problems("frazil.yaml");
    for (line, part) in [
        ("5: pipelines.lost.trigger.on_commit", "did you mean `trades`"),
        ("9: pipelines.there", "circle"),
        ("13: pipelines.back", "circle"),
        ("18: pipelines.two.sql", "one query"),
        ("22: pipelines.wrong.sql", "SELEC"),
        ("25: pipelines.own", "circle"),
        ("26: pipelines.own.sql", "topic nothing is not declared"),
    ] {
        assert!(
            problems.iter().any(|p| p.starts_with(&format!("{line}: ")) && p.contains(part)),
            "{line} … {part} is not among {problems:#?}"
        );
    }
}

#[test]
fn hostile_yaml_is_refused() {
    for (text, part) in [
        ("version: 1\na: &x [1]\nb: *x\n", "anchors"),
        ("version: 1\ntopics: !!map {}\n", "tags"),
        ("version: 1\n---\nversion: 1\n", "second document"),
        ("version: 1\nversion: 1\n", "twice"),
        ("version: 1\n? [a]\n: b\n", "single value"),
        ("version: [1\n", "no YAML"),
        ("- a\n", "must be a map"),
        ("", "missing"),
    ] {
        let problems = Directory::new(&[("frazil.yaml", text)]).problems("frazil.yaml");
        assert!(problems.iter().any(|p| p.contains(part)), "{text:?}: {problems:?}");
    }
    let deep = format!("version: 1\nx: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    assert!(!Directory::new(&[("frazil.yaml", &deep)]).problems("frazil.yaml").is_empty());
    let missing = Config::load(Path::new("/nowhere/frazil.yaml")).expect_err("missing");
    assert!(missing.to_string().contains("/nowhere/frazil.yaml: cannot be read"), "{missing}");
}

#[test]
fn users_of_the_kafka_door() {
    let text = r#"version: 1
server:
  listen: { kafka: "0.0.0.0:9092" }
  kafka:
    authentication: sasl
    super.users: "User:admin;User:ops"
    connections.max.reauth.ms: 60000
    advertised.host.name: broker.example.org
    users:
      admin: ${ADMIN_PASSWORD}
"#;
    let directory = Directory::new(&[("frazil.yaml", text)]);
    let variables = |name: &str| (name == "ADMIN_PASSWORD").then(|| "hush".to_owned());
    let config = Config::load_with(&directory.0.join("frazil.yaml"), &variables).expect("a configuration");
    let session = Some(std::time::Duration::from_secs(60));
    assert_eq!(config.security.authentication, gateway::kafka::Authentication::Sasl { session });
    let access = config.security.access();
    assert_eq!(access.super_users, ["User:admin", "User:ops"]);
    assert!(!access.open_by_default, "whoever is nobody may do nothing");
    assert_eq!(config.security.users.len(), 1);
    assert!(!format!("{config:?}").contains("hush"), "a password is printed");
    assert!(Config::default().security.access().open_by_default);
    for (text, part) in [
        ("authentication: yes", "none or sasl"),
        ("super.users: admin", "write User:admin"),
        ("users: { a: '' }", "empty"),
        ("users: { a: [x] }", "must be a password"),
        ("connections.max.reauth.ms: -1", "no whole number"),
        ("allow.everyone.if.no.acl.found: perhaps", "neither true nor false"),
    ] {
        let text = format!("version: 1\nserver:\n  kafka:\n    {text}\n");
        let problems = Directory::new(&[("frazil.yaml", &text)]).problems("frazil.yaml");
        assert!(problems.len() == 1 && problems[0].contains(part), "{part}: {problems:#?}");
    }
    // Beyond this machine only for those who say who they are, and under a name that can be connected to.
    let listen = |kafka: &str| {
        let text =
            format!("version: 1\nserver:\n  listen: {{ kafka: '0.0.0.0:9092' }}\n  kafka: {{ {kafka} }}\n");
        Directory::new(&[("frazil.yaml", &text)]).problems("frazil.yaml")
    };
    assert!(listen("authentication: none")[0].contains("authentication: sasl"));
    assert!(listen("authentication: sasl")[0].contains("advertised.host.name"));
}

#[test]
fn who_may_use_the_catalog_and_where_tables_lie() {
    let text = r#"version: 1
server:
  catalog: { authentication: oauth2, root.secret: "${ROOT_SECRET}" }
  tables: { warehouse: /srv/warehouse, requested_location: override }
"#;
    let directory = Directory::new(&[("frazil.yaml", text)]);
    let variables = |name: &str| (name == "ROOT_SECRET").then(|| "hush".to_owned());
    let config = Config::load_with(&directory.0.join("frazil.yaml"), &variables).expect("a configuration");
    assert!(config.security.access().catalog_tokens && config.security.root_secret.is_some());
    assert!(!format!("{config:?}").contains("hush"), "a secret is printed");
    assert_eq!(config.tables.warehouse.as_deref(), Some(Path::new("/srv/warehouse")));
    let mut settings = ::tables::Settings::default();
    config.tables.apply(&mut settings);
    assert!(settings.override_locations);
    assert!(!Config::default().security.access().catalog_tokens);
    for (text, part) in [
        ("catalog: { authentication: sasl }", "none or oauth2"),
        ("catalog: { root.secret: '' }", "empty"),
        ("catalog: { secret: x }", "secret"),
        ("tables: { warehouse: lake }", "absolute"),
        ("tables: { warehouse: /a/../b }", "absolute"),
        ("tables: { requested_location: maybe }", "refuse or override"),
    ] {
        let text = format!("version: 1\nserver:\n  {text}\n");
        let directory = Directory::new(&[("frazil.yaml", &text)]);
        let problems = Config::load(&directory.0.join("frazil.yaml")).expect_err(&text);
        assert!(problems.to_string().contains(part), "{text}: {problems}");
    }
}

//! A pipeline's definition, understood.
//!
//! Owns: checking a `PipelineSpec`; what it reads.
//! Does not own: storing it (commands/pipeline).

use std::time::Duration;

use base::TopicName;
use base::units::parse_duration;
use queries::relations::{Relation, StatementFacts, statement_facts};
use xxhash_rust::xxh3::xxh3_64;

use crate::publish::inputs::Freshness;
use crate::settings::Settings;
use crate::spec::{PipelineSpec, PublishMode, SpecError, Trigger};

/// Shortest time between two runs.
const EVERY_MIN: Duration = Duration::from_millis(10);

/// When to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    Every(Duration),
    OnCommit,
}

/// A definition that can work.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) spec: PipelineSpec,
    pub(crate) when: When,
    pub(crate) reads: Vec<Relation>,
    /// What decides whether it has to run again.
    pub(crate) watches: Vec<Relation>,
    /// The result depends on when it is asked, and the clock asks: it may change while its inputs do not.
    pub(crate) time_dependent: bool,
}

impl Definition {
    /// Checks everything that needs no table.
    pub(crate) fn of(name: &str, spec: PipelineSpec, settings: &Settings) -> Result<Self, SpecError> {
        let refuse = |field: &str, reason: String| {
            Err(SpecError { pipeline: name.chars().take(64).collect(), field: field.to_owned(), reason })
        };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 128 || !name.chars().all(good) {
            return refuse("name", "use 1 to 128 of a-z A-Z 0-9 . _ -".into());
        }
        if spec.sql.len() > settings.statement_bytes_max {
            return refuse("sql", format!("it is longer than {} bytes", settings.statement_bytes_max));
        }
        let facts: StatementFacts = match statement_facts(&spec.sql) {
            Ok(facts) => facts,
            Err(error) => return refuse("sql", error.message),
        };
        if let Err(error) = TopicName::new(&spec.into.topic) {
            return refuse("into.topic", error.to_string());
        }
        if spec.into.mode == PublishMode::Upsert && spec.into.key.is_empty() {
            return refuse("into.key", "mode upsert needs the columns of the key".into());
        }
        if spec.into.partitions.is_some_and(|n| n < 1) {
            return refuse("into.partitions", "a topic has at least 1".into());
        }
        if let Err(error) = topics::TopicConfig::new(&spec.into.config) {
            return refuse("into.config", error.to_string());
        }
        let (when, watches) = match &spec.trigger {
            Trigger::Every(text) => match parse_duration(text) {
                Ok(every) if every >= EVERY_MIN => (When::Every(every), facts.relations.clone()),
                Ok(_) => return refuse("trigger.every", format!("the shortest is {EVERY_MIN:?}")),
                Err(reason) => return refuse("trigger.every", reason),
            },
            Trigger::OnCommit(tables) if tables.is_empty() => {
                return refuse("trigger.on_commit", "name at least one table".into());
            }
            Trigger::OnCommit(tables) => {
                (When::OnCommit, tables.iter().map(|t| Relation::parse(t)).collect())
            }
        };
        // `on_commit` runs for data commits alone: the commits of its own target wake it too.
        let time_dependent = facts.time_dependent && when != When::OnCommit;
        Ok(Self { when, reads: facts.relations, watches, time_dependent, spec })
    }

    /// `on_commit` reads commits, so that a result is that of a commit; `every` reads what is stable.
    pub(crate) fn freshness(&self) -> Freshness {
        match self.when {
            When::Every(_) => Freshness::Latest,
            When::OnCommit => Freshness::Committed,
        }
    }

    /// Changes whenever the same inputs could give other records.
    pub(crate) fn query_hash(&self) -> u64 {
        let into = &self.spec.into;
        let parts = (&self.spec.sql, &into.topic, &into.key, into.format, into.mode);
        let text = serde_json::to_vec(&parts).expect("strings and plain words have a JSON form");
        xxh3_64(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Result<Definition, String> {
        let spec = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Definition::of("p", spec, &Settings::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn wrong_definitions_name_the_field() {
        for (json, field) in [
            (r#"{"sql":"selec 1","trigger":{"every":"5s"},"into":{"topic":"t"}}"#, "sql"),
            (r#"{"sql":"select 1","trigger":{"every":"5 potatoes"},"into":{"topic":"t"}}"#, "trigger.every"),
            (r#"{"sql":"select 1","trigger":{"every":"0s"},"into":{"topic":"t"}}"#, "trigger.every"),
            (r#"{"sql":"select 1","trigger":{"on_commit":[]},"into":{"topic":"t"}}"#, "trigger.on_commit"),
            (r#"{"sql":"select 1","trigger":{"every":"5s"},"into":{"topic":"a b"}}"#, "into.topic"),
            (
                r#"{"sql":"select 1","trigger":{"every":"5s"},"into":{"topic":"t","mode":"upsert"}}"#,
                "into.key",
            ),
            (
                r#"{"sql":"select 1","trigger":{"every":"5s"},"into":{"topic":"t","partitions":0}}"#,
                "into.partitions",
            ),
            (
                r#"{"sql":"select 1","trigger":{"every":"5s"},"into":{"topic":"t","config":{"x":"y"}}}"#,
                "into.config",
            ),
        ] {
            let error = spec(json).expect_err(json);
            assert!(error.starts_with(&format!("pipeline p: {field}: ")), "{error}");
        }
        let good = spec(
            r#"{"sql":"select a from t join \"U\" on true","trigger":{"every":"5s"},"into":{"topic":"v"}}"#,
        );
        let good = good.expect("good");
        let names: Vec<_> = good.reads.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["U", "t"]);
        assert_eq!(good.when, When::Every(Duration::from_secs(5)));
    }
}

//! The block `pipelines`.

use std::path::Path;
use std::time::Duration;

use pipelines::spec::Format;
use pipelines::{OnError, PipelineSpec, PublishMode, Target, Trigger};

use super::problem::Place;
use super::reader::Block;
use super::topics::{Places, Properties, read_config, read_iceberg};

/// A pipeline that should run.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineBlock {
    pub name: String,
    pub place: Place,
    /// Where its SQL stands.
    pub sql_place: Place,
    /// Where the properties of its topic stand.
    pub(crate) places: Places,
    pub spec: PipelineSpec,
}

/// Shortest time between two runs; pipelines refuse less.
const EVERY_MIN: Duration = Duration::from_millis(10);
pub(super) const KEYS: &[&str] = &["description", "sql", "sql_file", "trigger", "into", "on_error"];
pub(super) const INTO_KEYS: &[&str] = &["topic", "key", "format", "mode", "partitions", "iceberg", "config"];

/// None when a part without which nothing works is missing; the problem is noted.
pub(super) fn read(
    name: String,
    place: Place,
    mut block: Block<'_>,
    directory: &Path,
) -> Option<PipelineBlock> {
    let description = block.text("description");
    let sql = read_sql(&mut block, directory);
    let trigger = match block.block("trigger") {
        Some(trigger) => read_trigger(trigger),
        None => {
            block
                .problem("trigger", "is missing; write `trigger: { every: 5s }` or `{ on_commit: [topic] }`");
            None
        }
    };
    let into = match block.block("into") {
        Some(into) => read_into(into),
        None => {
            block.problem("into", "is missing; write `into: { topic: name }`");
            None
        }
    };
    let on_error = block.block("on_error").map_or_else(OnError::default, read_on_error);
    block.close(KEYS, &["tests", "enabled", "columns"]);
    let ((sql_place, sql), (into, places)) = (sql?, into?);
    let spec = PipelineSpec { description, sql, trigger: trigger?, into, on_error };
    Some(PipelineBlock { name, place, sql_place, places, spec })
}

fn read_sql(block: &mut Block<'_>, directory: &Path) -> Option<(Place, String)> {
    match (block.text_at("sql"), block.text_at("sql_file")) {
        (Some((place, _)), Some(_)) => {
            block.problem_at(&place, "sql", "give either sql or sql_file, not both");
            None
        }
        (Some(inline), None) => Some(inline),
        (None, Some((place, file))) => {
            let file = directory.join(file);
            match super::read_text(&file) {
                Ok(text) => Some((Place { file: file.display().to_string().into(), line: 1 }, text)),
                Err(reason) => {
                    block.problem_at(&place, "sql_file", format!("{} {reason}", file.display()));
                    None
                }
            }
        }
        (None, None) => {
            block.problem("sql", "is missing; write `sql: SELECT …` or `sql_file: path`");
            None
        }
    }
}

fn read_trigger(mut block: Block<'_>) -> Option<Trigger> {
    let any = block.has("every") || block.has("on_commit");
    let every = block.parsed("every", |text| match base::units::parse_duration(text)? {
        every if every < EVERY_MIN => Err(format!("`{text}` is too short: the shortest is {EVERY_MIN:?}")),
        _ => Ok(Trigger::Every(text.to_owned())),
    });
    let on_commit = block.texts("on_commit").map(Trigger::OnCommit);
    let trigger = match (every, on_commit) {
        (Some(_), Some(_)) => {
            block.problem("", "has both every and on_commit: keep one");
            None
        }
        (Some(trigger), None) | (None, Some(trigger)) => Some(trigger),
        (None, None) => {
            if !any {
                block.problem("", "needs `every` or `on_commit`");
            }
            None
        }
    };
    block.close(&["every", "on_commit"], &["cron", "continuous"]);
    trigger
}

fn read_into(mut block: Block<'_>) -> Option<(Target, Places)> {
    if !block.has("topic") {
        block.problem("topic", "is missing: name the topic that gets the results");
    }
    let topic = block.parsed("topic", |text| {
        base::TopicName::new(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
    });
    let key = block.texts("key").unwrap_or_default();
    let format = block.parsed("format", |text| match text {
        "json" => Ok(Format::Json),
        "avro" | "protobuf" => Err(format!("{text} is not available yet in this version: write json")),
        _ => Err(format!("`{text}` is no format: write json")),
    });
    let mode = block.parsed("mode", |text| match text {
        "append" => Ok(PublishMode::Append),
        "upsert" => Ok(PublishMode::Upsert),
        "snapshot" => Err("snapshot is not available yet in this version: write append or upsert".into()),
        _ => Err(format!("`{text}` is no mode: write append or upsert")),
    });
    if mode == Some(PublishMode::Upsert) && key.is_empty() {
        block.problem("key", "is missing: `mode: upsert` needs the columns that identify a row");
    }
    let partitions = block.number("partitions", 1);
    let mut properties = Properties::default();
    if let Some(iceberg) = block.block("iceberg") {
        read_iceberg(iceberg, &mut properties);
    }
    read_config(&mut block, &mut properties);
    block.close(INTO_KEYS, &["compression"]);
    let target = Target {
        topic: topic?,
        key,
        format: format.unwrap_or_default(),
        mode: mode.unwrap_or_default(),
        partitions,
        config: properties.values,
    };
    Some((target, properties.places))
}

fn read_on_error(mut block: Block<'_>) -> OnError {
    let retry =
        block.parsed("retry", |text| text.parse::<u32>().map_err(|_| format!("`{text}` is no whole number")));
    block.parsed("then", |text| match text {
        "pause" => Ok(()),
        _ => Err(format!("`{text}`: only `pause` is available")),
    });
    block.close(&["retry", "then"], &[]);
    retry.map_or_else(OnError::default, |retry| OnError { retry })
}

//! A configuration into effect: what is missing is made, what differs is changed, nothing is removed.

use anyhow::{Context, bail};
use pipelines::Commands;
use schemas::NewSchema;
use topics::{NewTopic, Topics};

use crate::config::{Config, TopicBlock};

/// Schemas first, so that a topic's table can be made with it; pipelines last.
pub(super) async fn apply(config: &Config, commands: &Commands, topics: &Topics) -> anyhow::Result<()> {
    for topic in &config.topics {
        let place = &topic.place;
        apply_schema(topic, commands).await.with_context(|| format!("{place}: topics.{}", topic.name))?;
        apply_topic(topic, commands, topics)
            .await
            .with_context(|| format!("{place}: topics.{}", topic.name))?;
    }
    let stored = commands.pipelines()?;
    for pipeline in &config.pipelines {
        // Putting it again would make it run again.
        if stored.iter().any(|(name, spec)| *name == pipeline.name && *spec == pipeline.spec) {
            continue;
        }
        commands
            .put_pipeline(&pipeline.name, pipeline.spec.clone())
            .await
            .with_context(|| format!("{}: pipelines.{}", pipeline.place, pipeline.name))?;
        tracing::info!(pipeline = %pipeline.name, "pipeline put");
    }
    Ok(())
}

async fn apply_schema(topic: &TopicBlock, commands: &Commands) -> anyhow::Result<()> {
    let Some(schema) = &topic.schema else { return Ok(()) };
    let subject = format!("{}-value", topic.name);
    let new =
        NewSchema { schema_type: schema.schema_type(), schema: schema.text.clone(), references: Vec::new() };
    let version = commands.register_schema(&subject, new).await?;
    tracing::debug!(%subject, version = version.version, id = version.schema.id, "schema registered");
    Ok(())
}

async fn apply_topic(topic: &TopicBlock, commands: &Commands, topics: &Topics) -> anyhow::Result<()> {
    let Some(have) = topics.topic(&topic.name) else {
        commands
            .create_topic(NewTopic {
                name: topic.name.clone(),
                partitions: topic.partitions,
                config: topic.config.clone(),
            })
            .await?;
        tracing::info!(topic = %topic.name, "topic created");
        return Ok(());
    };
    match topic.partitions {
        Some(want) if want > have.partitions => {
            commands.add_partitions(&topic.name, want).await?;
            tracing::info!(topic = %topic.name, from = have.partitions, to = want, "partitions added");
        }
        Some(want) if want < have.partitions => {
            bail!(
                "partitions: {want} declared, but the topic has {}; their number only grows",
                have.partitions
            )
        }
        _ => {}
    }
    let changes: Vec<(String, Option<String>)> = topic
        .config
        .iter()
        .filter(|(key, value)| have.config.get(key) != Some(value.as_str()))
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    if !changes.is_empty() {
        commands.alter_topic(&topic.name, &changes).await?;
        tracing::info!(topic = %topic.name, properties = ?changes, "topic altered");
    }
    Ok(())
}

//! `frazil topic`: over the Kafka protocol, as any client would.

use std::io::{self, Write};
use std::time::Duration;

use topics::cluster::{self, ClusterClient, ClusterError, StartAt};
use topics::{ConfigSource, NewTopic};

use super::Usage;
use super::template::RecordTemplate;
use crate::cli::{AlterConfigArgs, ConsumeArgs, CreateArgs, TopicCommand};
use crate::output::{self, Column, Format};
use crate::remote::Remote;

pub(super) async fn run(command: TopicCommand, remote: &Remote) -> anyhow::Result<()> {
    match command {
        TopicCommand::Create(args) => create(&remote.kafka().await?, args).await,
        TopicCommand::List(args) => list(&remote.kafka().await?, args.output).await,
        TopicCommand::Describe { topic, output } => {
            describe(&remote.kafka().await?, &topic, output.output).await
        }
        TopicCommand::AlterConfig(args) => alter_config(&remote.kafka().await?, args).await,
        TopicCommand::Delete { topics } => delete(&remote.kafka().await?, &topics).await,
        TopicCommand::Produce(args) => super::produce::run(&remote.kafka().await?, args).await,
        TopicCommand::Consume(args) => {
            let plan = ConsumePlan::of(&args)?;
            consume(&remote.kafka().await?, args, plan).await
        }
    }
}

async fn create(client: &ClusterClient, args: CreateArgs) -> anyhow::Result<()> {
    let config = cluster::config_map(args.config).map_err(Usage)?;
    for name in args.topics {
        let topic = NewTopic { name: name.clone(), partitions: args.partitions, config: config.clone() };
        match client.create_topic(&topic, args.replicas, args.dry).await {
            Ok(()) if args.dry => println!("{name}: can be created"),
            Ok(()) => println!("{name}: created"),
            Err(ClusterError::TopicExists(_)) if args.if_not_exists => println!("{name}: exists"),
            Err(error) => return Err(explained(error, &topic, args.replicas)),
        }
    }
    Ok(())
}

/// The client library keeps a refusal's code and loses its words: this node's own check may know them.
fn explained(error: ClusterError, topic: &NewTopic, replicas: i32) -> anyhow::Error {
    if !matches!(error, ClusterError::Refused { .. }) {
        return error.into();
    }
    if let Err(reason) = base::TopicName::new(&topic.name) {
        return reason.into();
    }
    if replicas > 1 {
        return anyhow::anyhow!("{}: {replicas} replicas are too many: this log keeps one copy", topic.name);
    }
    match crate::properties::check(&topic.name, &topic.config) {
        Err(reason) => anyhow::anyhow!("{}: {reason}", topic.name),
        Ok(()) => error.into(),
    }
}

async fn alter_config(client: &ClusterClient, args: AlterConfigArgs) -> anyhow::Result<()> {
    let config = cluster::config_map(args.set).map_err(Usage)?;
    if let Some(both) = args.delete.iter().find(|name| config.contains_key(*name)) {
        return Err(Usage(format!("property `{both}` is both set and deleted")).into());
    }
    for name in args.topics {
        // Brokers say why they refuse; the client library does not pass it on.
        crate::properties::check(&name, &config).map_err(|reason| anyhow::anyhow!("{name}: {reason}"))?;
        match client.alter_topic(&name, &config, &args.delete, args.dry).await {
            Ok(()) if args.dry => println!("{name}: can be changed"),
            Ok(()) => println!("{name}: changed"),
            Err(error) => {
                let as_new = NewTopic { name, partitions: None, config };
                return Err(explained(error, &as_new, -1));
            }
        }
    }
    Ok(())
}

async fn delete(client: &ClusterClient, topics: &[String]) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for name in topics {
        match client.delete_topic(name).await {
            Ok(()) => println!("{name}: deleted"),
            Err(error @ ClusterError::Unreachable { .. }) => return Err(error.into()),
            Err(error) => failed.push(error.to_string()),
        }
    }
    anyhow::ensure!(failed.is_empty(), failed.join("; "));
    Ok(())
}

async fn list(client: &ClusterClient, format: Format) -> anyhow::Result<()> {
    let rows = client
        .topics()
        .await?
        .into_iter()
        .map(|t| vec![Some(t.name), Some(t.partitions.to_string())])
        .collect();
    output::print(format, vec![Column::text("topic"), Column::number("partitions")], rows)?;
    Ok(())
}

async fn describe(client: &ClusterClient, topic: &str, format: Format) -> anyhow::Result<()> {
    let found = client.describe(topic).await?;
    let source = |s: ConfigSource| match s {
        ConfigSource::Topic => "topic",
        ConfigSource::Default => "default",
    };
    if matches!(format, Format::Json | Format::Ndjson) {
        let partitions: Vec<_> = found
            .partitions
            .iter()
            .map(|p| {
                serde_json::json!({
                    "partition": p.partition, "leader": p.leader, "start": p.start, "end": p.end,
                })
            })
            .collect();
        let config: Vec<_> = found
            .config
            .iter()
            .map(|c| serde_json::json!({"name": c.name, "value": c.value, "source": source(c.source)}))
            .collect();
        let all = serde_json::json!({"name": found.name, "partitions": partitions, "config": config});
        return Ok(writeln!(io::stdout(), "{all}")?);
    }
    let partitions = found
        .partitions
        .iter()
        .map(|p| {
            let numbers = [i64::from(p.partition), i64::from(p.leader), p.start, p.end, p.end - p.start];
            numbers.iter().map(|n| Some(n.to_string())).collect()
        })
        .collect();
    let columns = ["partition", "leader", "start", "end", "records"].map(Column::number);
    output::print(format, columns.to_vec(), partitions)?;
    writeln!(io::stdout())?;
    let config = found
        .config
        .into_iter()
        .map(|c| vec![Some(c.name), c.value, Some(source(c.source).to_owned())])
        .collect();
    let columns = ["property", "value", "source"].map(Column::text);
    output::print(format, columns.to_vec(), config)?;
    Ok(())
}

/// What the flags of `consume` mean.
struct ConsumePlan {
    start: StartAt,
    stop_at_end: bool,
    template: RecordTemplate,
}

impl ConsumePlan {
    fn of(args: &ConsumeArgs) -> Result<Self, Usage> {
        let (start, range_end) = match args.offset.split_once(':') {
            Some((start, "end")) => (start, true),
            Some(_) => return Err(Usage("a range of offsets ends with `:end`".into())),
            None => (args.offset.as_str(), false),
        };
        let start = if start.is_empty() { "start" } else { start };
        Ok(Self {
            start: start.parse().map_err(Usage)?,
            stop_at_end: args.exit || range_end,
            template: RecordTemplate::parse(&args.format).map_err(Usage)?,
        })
    }
}

async fn consume(client: &ClusterClient, args: ConsumeArgs, plan: ConsumePlan) -> anyhow::Result<()> {
    let consumer = client.consumer(&args.topic, &args.partitions, plan.start).await?;
    let mut left = args.num.unwrap_or(u64::MAX);
    while left > 0 && !(plan.stop_at_end && consumer.past_opening_end()) {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(10_000);
        let records = consumer.next(most, Duration::from_millis(500)).await?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        for record in &records {
            plan.template.write(&mut out, &args.topic, record)?;
        }
        out.flush()?;
        left -= records.len() as u64;
    }
    Ok(())
}

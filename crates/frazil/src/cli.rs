//! The command line.
//!
//! Owns: names, flags and help of every command. Where rpk has a command, its spelling is taken.
//! Does not own: what commands do.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Format;

mod registry;
mod upkeep;

pub use registry::{
    ContextCommand, LevelCommand, ModeCommand, RegistryCommand, SchemaArgs, SchemaCommand, SchemaKind,
    SubjectCommand,
};
pub use upkeep::{RefCommand, RollbackArgs, UpkeepCommand};

/// A streaming lakehouse in one binary: Kafka in, Iceberg tables, SQL over both, results back as topics.
#[derive(Debug, Parser)]
#[command(name = "frazil", version, propagate_version = true, infer_subcommands = false)]
#[command(after_help = "Examples:
  frazil demo                              the whole round trip on 50,000 trades
  frazil up --data-dir ./frazil-data       a node, until Ctrl-C
  frazil sql -c 'SELECT count(*) FROM trades'")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Host of the node that commands talk to; `up` has --listen
    #[arg(long, global = true, env = "FRAZIL_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Added to every default port: of the node by `up`, of the node that commands talk to
    #[arg(long, global = true, env = "FRAZIL_PORT_OFFSET", default_value_t = 0)]
    pub port_offset: u16,
    /// Log lines on standard error: error, warn, info, debug, trace, or `info,gateway=debug`
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    pub log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop
    Up(UpArgs),
    /// Show the whole round trip on generated trades, and check every count
    Demo(DemoArgs),
    /// Check a configuration without a node
    Validate(ValidateArgs),
    /// Run SQL over the Postgres wire
    Sql(SqlArgs),
    /// Topics: create, list, describe, alter-config, delete, produce, consume
    #[command(subcommand, visible_alias = "topics")]
    Topic(TopicCommand),
    /// Iceberg tables: list, describe, snapshots, commit, resume
    #[command(subcommand, visible_alias = "tables")]
    Table(TableCommand),
    /// Pipelines: list, delete
    #[command(subcommand, visible_alias = "pipelines")]
    Pipeline(PipelineCommand),
    /// The schema registry: schemas, subjects, compatibility-level, mode, contexts
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// What runs, how far it is, what is wrong and what to type
    #[command(after_help = "Example:\n  frazil status -o json")]
    Status(OutputArgs),
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// Form of the output
    #[arg(short, long, alias = "format", value_enum, default_value_t)]
    pub output: Format,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  frazil up
  frazil up -f frazil.yaml --data-dir /var/lib/frazil
  frazil up -f config/ --port-offset 1000")]
pub struct UpArgs {
    /// A configuration file, or a directory of them, put into effect at start
    #[arg(short, long, value_name = "FILE|DIR")]
    pub file: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, env = "FRAZIL_DATA_DIR", default_value = "frazil-data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Address to listen on; only loopback addresses are taken
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub listen: std::net::IpAddr,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  frazil demo
  frazil demo --data-dir ./demo --keep")]
pub struct DemoArgs {
    /// Keep everything in this directory, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Leave the node running until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// How many trades
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rows: u64,
    /// The same seed gives the same trades and the same analytics
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  frazil validate frazil.yaml
  frazil validate config/")]
pub struct ValidateArgs {
    /// A configuration file, or a directory of them
    #[arg(value_name = "FILE|DIR")]
    pub file: PathBuf,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  frazil sql 'SELECT symbol, count(*) FROM trades GROUP BY 1'
  frazil sql -f report.sql -o csv > report.csv
  echo 'SELECT symbol, price FROM trades' | frazil sql -o json

Without SQL, statements are read from standard input; on a terminal, line by line up to `;`.")]
pub struct SqlArgs {
    /// Run this SQL
    #[arg(value_name = "SQL", conflicts_with_all = ["command", "file"])]
    pub statements: Option<String>,
    /// Run this SQL; may be given several times
    #[arg(short, long, value_name = "SQL")]
    pub command: Vec<String>,
    /// Run the SQL of this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics
    #[command(after_help = "Examples:
  frazil topic create trades -p 3
  frazil topic create trades -p 3 -c redpanda.iceberg.mode=key_value -c retention.ms=86400000")]
    Create(CreateArgs),
    /// List topics
    #[command(visible_alias = "ls", after_help = "Example:\n  frazil topic list -o json")]
    List(OutputArgs),
    /// Show partitions and properties of a topic
    #[command(after_help = "Example:\n  frazil topic describe trades")]
    Describe {
        /// Name of the topic
        topic: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Set and remove properties of topics
    #[command(
        visible_alias = "alter",
        after_help = "Examples:
  frazil topic alter-config trades --set redpanda.iceberg.target.lag.ms=5000
  frazil topic alter-config trades --set retention.ms=86400000 --delete redpanda.iceberg.partition.spec

Of two changes of one topic at the same moment, one can be lost."
    )]
    AlterConfig(AlterConfigArgs),
    /// Delete topics
    #[command(visible_alias = "rm", after_help = "Example:\n  frazil topic delete trades")]
    Delete {
        /// Names of the topics
        #[arg(required = true)]
        topics: Vec<String>,
    },
    /// Produce records from the lines of standard input
    #[command(after_help = "Examples:
  echo '{\"symbol\":\"AAPL\"}' | frazil topic produce trades
  echo 'AAPL {\"price\":1}' | frazil topic produce trades -f '%k %v\\n'")]
    Produce(ProduceArgs),
    /// Consume records to standard output
    #[command(after_help = "Examples:
  frazil topic consume trades -n 5
  frazil topic consume trades -o -10 -f '%p %o %k %v\\n' -e")]
    Consume(ConsumeArgs),
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Names of the topics
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// Partitions; the node's default when left out
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// Replicas; this log keeps one copy
    #[arg(short, long, default_value_t = -1, allow_negative_numbers = true)]
    pub replicas: i32,
    /// A property, for example retention.ms=86400000; may be given several times
    #[arg(short = 'c', long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub config: Vec<(String, String)>,
    /// A topic that exists already is fine
    #[arg(long)]
    pub if_not_exists: bool,
    /// Only check
    #[arg(short, long)]
    pub dry: bool,
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct AlterConfigArgs {
    /// Names of the topics
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// A property and its new value; may be given several times
    #[arg(short, long, alias = "config", value_name = "KEY=VALUE", value_parser = key_value, group = "change")]
    pub set: Vec<(String, String)>,
    /// A property that gets its default back; may be given several times
    #[arg(short, long, alias = "delete-config", value_name = "KEY", group = "change")]
    pub delete: Vec<String>,
    /// Only check
    #[arg(long)]
    pub dry: bool,
}

/// Compression of produced batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Args)]
pub struct ProduceArgs {
    /// Name of the topic
    pub topic: String,
    /// Key of every record
    #[arg(short, long)]
    pub key: Option<String>,
    /// A header of every record
    #[arg(short = 'H', long = "header", value_name = "KEY:VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Partition of every record; by the key when left out
    #[arg(short, long)]
    pub partition: Option<i32>,
    /// How a line is read: %k key, %v value; the text between them separates
    #[arg(short, long, default_value = "%v\\n")]
    pub format: String,
    /// Make the topic when it does not exist
    #[arg(long)]
    pub allow_auto_topic_creation: bool,
    /// Empty values are tombstones
    #[arg(short = 'Z', long)]
    pub tombstone: bool,
    /// Compression
    #[arg(short = 'z', long, value_enum, default_value_t)]
    pub compression: Codec,
}

#[derive(Debug, Clone, Args)]
pub struct ConsumeArgs {
    /// Name of the topic
    pub topic: String,
    /// start, end, N, +N (after the start), -N (before the end), @MS (time); `start:end` stops at the end
    #[arg(short, long, default_value = "start", allow_hyphen_values = true)]
    pub offset: String,
    /// Stop after so many records
    #[arg(short, long, value_name = "N")]
    pub num: Option<u64>,
    /// Only these partitions
    #[arg(short, long, value_delimiter = ',')]
    pub partitions: Vec<i32>,
    /// `json`, or a template: %k key, %v value, %t topic, %p partition, %o offset, %d time in ms, %h headers
    #[arg(short, long, default_value = "json")]
    pub format: String,
    /// Stop at the end
    #[arg(short, long)]
    pub exit: bool,
}

#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// List tables
    #[command(visible_alias = "ls", after_help = "Example:\n  frazil table list")]
    List(OutputArgs),
    /// Show columns, partitioning and place of a table
    #[command(after_help = "Example:\n  frazil table describe trades")]
    Describe {
        /// `name`, or `namespace.name`
        table: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show the snapshots of a table, oldest first
    #[command(after_help = "Example:\n  frazil table snapshots trades -o json")]
    Snapshots {
        /// `name`, or `namespace.name`
        table: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Commit what a table's topic has now, without waiting for its target lag
    #[command(after_help = "Example:\n  frazil table commit trades")]
    Commit {
        /// `name`, or `namespace.name`; or its topic's name
        table: String,
    },
    /// Account for every offset of a topic: row, dead letter, dropped, control, aborted, compacted or skipped
    #[command(
        after_help = "The account is compared with the table's rows, files and manifests, and with the log as far as
it reaches back. Exits with 1 when something is wrong.

Examples:
  frazil table verify trades
  frazil table verify trades -o json"
    )]
    Verify {
        /// `name`, or `namespace.name`
        table: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Let a table go on that was rolled back or has diverged from its log
    #[command(after_help = "Examples:
  frazil table resume trades --skip       from the end of the log; what lies between is left out
  frazil table resume trades --replay     from the table's own progress")]
    Resume(ResumeArgs),
    #[command(flatten)]
    Upkeep(UpkeepCommand),
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("mode").required(true))]
pub struct ResumeArgs {
    /// `name`, or `namespace.name`
    pub table: String,
    /// From the end of the log; what lies between is left out
    #[arg(long, group = "mode")]
    pub skip: bool,
    /// From the table's own progress
    #[arg(long, group = "mode")]
    pub replay: bool,
}

#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// List pipelines
    #[command(visible_alias = "ls", after_help = "Example:\n  frazil pipeline list")]
    List(OutputArgs),
    /// Stop and forget pipelines; their topics stay
    #[command(visible_alias = "rm", after_help = "Example:\n  frazil pipeline delete vwap_1m")]
    Delete {
        /// Names of the pipelines
        #[arg(required = true)]
        pipelines: Vec<String>,
    },
}

fn pair(text: &str, separator: char) -> Result<(String, String), String> {
    match text.split_once(separator) {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("write KEY{separator}VALUE")),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    pair(text, '=')
}

fn header(text: &str) -> Result<(String, String), String> {
    pair(text, ':')
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn walk(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let name = command.get_name();
                assert!(help.contains("Example"), "{name} has no example");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn rpk_spelling_is_taken() {
        let line = "frazil topic create trades -p 3 -r 1 -c retention.ms=-1 -c a=b=c --if-not-exists";
        let cli = Cli::try_parse_from(line.split(' ')).expect("create");
        let Command::Topic(TopicCommand::Create(args)) = cli.command else { panic!("topic create") };
        assert_eq!((args.partitions, args.replicas), (Some(3), 1));
        assert_eq!(args.config[1], ("a".to_owned(), "b=c".to_owned()));
        for line in ["alter-config t -s a=b -s c= -d e", "alter t --config a=b --config c= --delete-config e"]
        {
            let cli =
                Cli::try_parse_from("frazil topic".split(' ').chain(line.split(' '))).expect("alter-config");
            let Command::Topic(TopicCommand::AlterConfig(args)) = cli.command else { panic!("alter-config") };
            assert_eq!(args.set, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
            assert_eq!(args.delete, ["e"]);
        }
        let cli = Cli::try_parse_from(["frazil", "topic", "consume", "t", "-o", "-10", "-n", "5"]);
        let Command::Topic(TopicCommand::Consume(args)) = cli.expect("consume").command else {
            panic!("topic consume")
        };
        assert_eq!((args.offset.as_str(), args.num, args.format.as_str()), ("-10", Some(5), "json"));
        for bad in [
            "frazil topic create",
            "frazil topic create t -p 0",
            "frazil topic create t -c novalue",
            "frazil topic alter-config t",
            "frazil topic alter-config t --set novalue",
            "frazil table resume t",
            "frazil table resume t --skip --replay",
            "frazil demo --rows 0",
        ] {
            assert!(Cli::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
    }
}

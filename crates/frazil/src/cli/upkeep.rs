//! Flags of the commands that keep a table in shape.
//!
//! Owns: names, flags and help of `frazil table compact`, `expire-snapshots`, `remove-orphans`, `rewrite-manifests`,
//! `replay-dlq`, `rollback`, `tag` and `branch`; their translation into actions.
//! Does not own: what they do (`pipelines::TableAction`).

use clap::{Args, Subcommand};
use pipelines::{Kind, RollbackTarget, TableAction};

use super::OutputArgs;

#[derive(Debug, Clone, Subcommand)]
pub enum UpkeepCommand {
    /// Put small data files together; the node does it by itself, this does it now
    #[command(after_help = "Examples:
  frazil table compact trades
  frazil table compact trades --dry-run
  frazil table compact trades --all       partitions that still get files, too")]
    Compact {
        /// `name`, or `namespace.name`
        table: String,
        /// Take partitions that still get files, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        how: How,
    },
    /// Let old snapshots go; their files follow an hour later
    #[command(after_help = "Examples:
  frazil table expire-snapshots trades --dry-run                       what the usual thinning would let go now
  frazil table expire-snapshots trades --older-than 7d --retain-last 10")]
    ExpireSnapshots {
        /// `name`, or `namespace.name`
        table: String,
        /// Age from which all snapshots go, but heads, tags and the last progress: 7d, 24h
        #[arg(long, value_name = "AGE", value_parser = millis)]
        older_than: Option<i64>,
        /// So many of the newest snapshots stay in any case
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        retain_last: Option<u32>,
        #[command(flatten)]
        how: How,
    },
    /// Delete files in the table's directory that no snapshot has
    #[command(after_help = "Examples:
  frazil table remove-orphans trades --dry-run
  frazil table remove-orphans trades --older-than 7d

A file goes when it was seen without a snapshot twice, an hour apart. Files that other programs wrote have to be three
days old too, or as old as --older-than says.")]
    RemoveOrphans {
        /// `name`, or `namespace.name`
        table: String,
        /// Age of files that other programs wrote; three days when left out
        #[arg(long, value_name = "AGE", value_parser = millis)]
        older_than: Option<i64>,
        #[command(flatten)]
        how: How,
    },
    /// Write the manifests of the current snapshot anew, sorted by partition
    #[command(after_help = "Example:\n  frazil table rewrite-manifests trades")]
    RewriteManifests {
        /// `name`, or `namespace.name`
        table: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make dead letters rows that fit by now, after a new schema or mode
    #[command(after_help = "Examples:
  frazil table replay-dlq trades --dry-run     how many would fit, and why the others do not
  frazil table replay-dlq trades
  frazil table replay-dlq trades --limit 100

Each record keeps the partition, offset and time that it had, and is afterwards in one of the two tables, whatever stops
in between. What still does not fit stays in <table>~dlq as it is.")]
    ReplayDlq {
        /// `name`, or `namespace.name`; with or without `~dlq`
        table: String,
        /// Most records that become rows
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// Move a table back to an earlier snapshot
    #[command(after_help = "Examples:
  frazil table rollback trades --to-snapshot 5781947118336215154
  frazil table rollback trades --to-time 2026-11-20T08:00:00Z --dry-run
  frazil table rollback trades --to-ref before-the-mistake

A table that is fed by a topic stops then, and goes on with `frazil table resume`.")]
    Rollback(RollbackArgs),
    /// Names for snapshots, which keep them: create, drop, list
    #[command(subcommand)]
    Tag(RefCommand),
    /// Branches: create, drop, list
    #[command(subcommand)]
    Branch(RefCommand),
}

/// Whether to do it, and how to tell.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub struct RollbackArgs {
    /// `name`, or `namespace.name`
    pub table: String,
    /// Id of a snapshot
    #[arg(long, group = "target", value_name = "ID")]
    pub to_snapshot: Option<i64>,
    /// The snapshot of this moment: 2026-11-20T08:00:00Z, or milliseconds since 1970
    #[arg(long, group = "target", value_name = "TIME", value_parser = moment)]
    pub to_time: Option<i64>,
    /// The snapshot of a tag or branch
    #[arg(long, group = "target", value_name = "NAME")]
    pub to_ref: Option<String>,
    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Clone, Subcommand)]
pub enum RefCommand {
    /// Make one
    #[command(after_help = "Examples:
  frazil table tag create trades end-of-year
  frazil table branch create trades experiment --snapshot 5781947118336215154 --max-age 30d")]
    Create {
        /// `name`, or `namespace.name`
        table: String,
        /// Its name
        name: String,
        /// Id of its snapshot; the current one when left out
        #[arg(long, value_name = "ID")]
        snapshot: Option<i64>,
        /// It goes when its snapshot is older: 30d; never when left out
        #[arg(long, value_name = "AGE", value_parser = millis)]
        max_age: Option<i64>,
        /// Move the one that is there
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Drop one; its snapshots expire with the others
    #[command(after_help = "Example:\n  frazil table tag drop trades end-of-year")]
    Drop {
        /// `name`, or `namespace.name`
        table: String,
        /// Its name
        name: String,
    },
    /// List tags and branches
    #[command(visible_alias = "ls", after_help = "Example:\n  frazil table tag list trades")]
    List {
        /// `name`, or `namespace.name`
        table: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl UpkeepCommand {
    /// Table, action, form of the output.
    pub fn action(self) -> (String, TableAction, OutputArgs) {
        match self {
            Self::Compact { table, all, how } => {
                (table, TableAction::Compact { dry_run: how.dry_run, all }, how.output)
            }
            Self::ExpireSnapshots { table, older_than, retain_last, how } => {
                let older_than_ms =
                    older_than.map(|age| chrono::Utc::now().timestamp_millis().saturating_sub(age));
                let retain_last = retain_last.map(|n| n as usize);
                let action =
                    TableAction::ExpireSnapshots { dry_run: how.dry_run, older_than_ms, retain_last };
                (table, action, how.output)
            }
            Self::RemoveOrphans { table, older_than, how } => {
                let action = TableAction::RemoveOrphans { dry_run: how.dry_run, min_age_ms: older_than };
                (table, action, how.output)
            }
            Self::RewriteManifests { table, output } => (table, TableAction::RewriteManifests {}, output),
            Self::ReplayDlq { table, limit, how } => {
                (table, TableAction::ReplayDlq { dry_run: how.dry_run, limit }, how.output)
            }
            Self::Rollback(args) => {
                let by_ref = RollbackTarget::Ref(args.to_ref.unwrap_or_default());
                let to = args
                    .to_snapshot
                    .map(RollbackTarget::SnapshotId)
                    .or(args.to_time.map(RollbackTarget::TimestampMs));
                let action = TableAction::Rollback { dry_run: args.how.dry_run, to: to.unwrap_or(by_ref) };
                (args.table, action, args.how.output)
            }
            Self::Tag(command) => command.action(Kind::Tag),
            Self::Branch(command) => command.action(Kind::Branch),
        }
    }
}

impl RefCommand {
    fn action(self, kind: Kind) -> (String, TableAction, OutputArgs) {
        match self {
            Self::Create { table, name, snapshot, max_age, replace, output } => {
                let action = TableAction::CreateRef {
                    name,
                    kind,
                    snapshot_id: snapshot,
                    max_age_ms: max_age,
                    replace,
                };
                (table, action, output)
            }
            Self::Drop { table, name } => {
                (table, TableAction::DropRef { name, kind }, OutputArgs { output: Default::default() })
            }
            Self::List { table, output } => (table, TableAction::ListRefs {}, output),
        }
    }
}

fn millis(text: &str) -> Result<i64, String> {
    let age = base::units::parse_duration(text)?;
    i64::try_from(age.as_millis()).map_err(|_| format!("`{text}` is too long"))
}

fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| format!("`{text}` is no time: write 2026-11-20T08:00:00Z, or milliseconds since 1970"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command, TableCommand};
    use super::*;

    fn read(line: &str) -> Result<(String, TableAction), String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|e| e.to_string())?;
        let Command::Table(TableCommand::Upkeep(command)) = cli.command else { return Err("other".into()) };
        let (table, action, _) = command.action();
        Ok((table, action))
    }

    #[test]
    fn flags_become_actions() {
        for (line, json) in [
            ("frazil table compact t", r#"{"action":"compact","dry_run":false,"all":false}"#),
            (
                "frazil table rollback t --to-time 1970-01-01T00:00:01Z --dry-run",
                r#"{"action":"rollback","dry_run":true,"timestamp_ms":1000}"#,
            ),
            ("frazil table rollback t --to-ref v1", r#"{"action":"rollback","dry_run":false,"ref":"v1"}"#),
            (
                "frazil table remove-orphans t --older-than 7d",
                r#"{"action":"remove_orphans","dry_run":false,"min_age_ms":604800000}"#,
            ),
            (
                "frazil table tag create t v1 --max-age 1d",
                r#"{"action":"create_ref","name":"v1","kind":"tag","snapshot_id":null,"max_age_ms":86400000,"replace":false}"#,
            ),
            ("frazil table branch drop t dev", r#"{"action":"drop_ref","name":"dev","kind":"branch"}"#),
            (
                "frazil table replay-dlq t --limit 5 --dry-run",
                r#"{"action":"replay_dlq","dry_run":true,"limit":5}"#,
            ),
            ("frazil table tag ls t", r#"{"action":"list_refs"}"#),
            ("frazil table rewrite-manifests t", r#"{"action":"rewrite_manifests"}"#),
        ] {
            let (table, action) = read(line).expect(line);
            assert_eq!((table.as_str(), serde_json::to_string(&action).expect("json").as_str()), ("t", json));
        }
        for bad in [
            "frazil table rollback t",
            "frazil table rollback t --to-snapshot 1 --to-ref v1",
            "frazil table rollback t --to-time yesterday",
            "frazil table expire-snapshots t --retain-last 0",
            "frazil table expire-snapshots t --older-than soon",
            "frazil table tag create t",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

//! What somebody asks of a table: upkeep now, references, rollback.
//!
//! Owns: the words of the actions and of their answers; finding the table; one at a time with the duty.
//! Does not own: what is done (`tables::maintenance`).
//! Invariants: an action that answers has been done; a table that was moved back is told to the task that feeds it.

use queries::mode::DEAD_LETTER_SUFFIX;
use serde::{Deserialize, Serialize};
use tables::maintenance::{
    Compact, Expire, MaintenanceError, NewRef, Orphans, RefInfo, RefKind, RollbackTo, refs::rollback_target,
};
use tables::{TableIdent, Tables};

use super::all_tables;
use crate::commands::{CommandError, no_such_table};
use crate::duties::Duties;
use crate::replay::{self, How, ReplayReport};

/// Files that an answer lists; the counts are always whole.
const LISTED_MAX: usize = 1_000;

/// An action on one table. Ages and times are milliseconds, times since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum TableAction {
    /// Small files are put together until there is nothing left to gain; `all` takes partitions that still get files.
    Compact {
        #[serde(default)]
        dry_run: bool,
        #[serde(default)]
        all: bool,
    },
    ExpireSnapshots {
        #[serde(default)]
        dry_run: bool,
        older_than_ms: Option<i64>,
        retain_last: Option<usize>,
    },
    RemoveOrphans {
        #[serde(default)]
        dry_run: bool,
        min_age_ms: Option<i64>,
    },
    RewriteManifests {},
    /// Dead letters that fit by now become rows; `limit`: so many of them at most.
    ReplayDlq {
        #[serde(default)]
        dry_run: bool,
        limit: Option<u64>,
    },
    Rollback {
        #[serde(default)]
        dry_run: bool,
        #[serde(flatten)]
        to: RollbackTarget,
    },
    CreateRef {
        name: String,
        kind: Kind,
        snapshot_id: Option<i64>,
        max_age_ms: Option<i64>,
        #[serde(default)]
        replace: bool,
    },
    DropRef {
        name: String,
        kind: Kind,
    },
    ListRefs {},
}

impl TableAction {
    /// References and rollback are one small commit each, and may be urgent: they wait for nothing.
    fn takes_turn(&self) -> bool {
        match self {
            Self::Compact { .. }
            | Self::ExpireSnapshots { .. }
            | Self::RemoveOrphans { .. }
            | Self::ReplayDlq { .. }
            | Self::RewriteManifests {} => true,
            Self::Rollback { .. } | Self::CreateRef { .. } | Self::DropRef { .. } | Self::ListRefs {} => {
                false
            }
        }
    }
}

/// Where to roll back to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackTarget {
    SnapshotId(i64),
    TimestampMs(i64),
    /// A branch or tag.
    Ref(String),
}

/// Whether a reference moves with commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Branch,
    Tag,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum TableAnswer {
    Compacted {
        table: String,
        dry_run: bool,
        /// The last one that was made.
        snapshot_id: Option<i64>,
        files_before: usize,
        files_after: usize,
        bytes_before: u64,
        bytes_after: u64,
        rows: u64,
        left_alone: Vec<String>,
    },
    Expired {
        table: String,
        dry_run: bool,
        snapshots: Vec<i64>,
        refs: Vec<String>,
        snapshots_left: usize,
        /// They are deleted after the grace period.
        files: usize,
    },
    Orphans {
        table: String,
        dry_run: bool,
        removed: usize,
        removed_bytes: u64,
        /// Somebody may still want them: they go when they are seen again after the grace period.
        waiting: usize,
        waiting_bytes: u64,
        removed_files: Vec<String>,
        waiting_files: Vec<String>,
    },
    Replayed(ReplayReport),
    Manifests {
        table: String,
        snapshot_id: Option<i64>,
        before: usize,
        after: usize,
    },
    RolledBack {
        table: String,
        dry_run: bool,
        snapshot_id: i64,
    },
    Refs {
        table: String,
        refs: Vec<RefAnswer>,
    },
}

/// A branch or tag.
#[derive(Debug, Clone, Serialize)]
pub struct RefAnswer {
    pub name: String,
    pub kind: Kind,
    pub snapshot_id: i64,
    pub max_age_ms: Option<i64>,
}

impl From<RefInfo> for RefAnswer {
    fn from(info: RefInfo) -> Self {
        let kind = if info.kind == RefKind::Branch { Kind::Branch } else { Kind::Tag };
        Self { name: info.name, kind, snapshot_id: info.snapshot_id, max_age_ms: info.max_age_ms }
    }
}

impl From<Kind> for RefKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Branch => Self::Branch,
            Kind::Tag => Self::Tag,
        }
    }
}

impl From<RollbackTarget> for RollbackTo {
    fn from(target: RollbackTarget) -> Self {
        match target {
            RollbackTarget::SnapshotId(id) => Self::Snapshot(id),
            RollbackTarget::TimestampMs(ms) => Self::Timestamp(ms),
            RollbackTarget::Ref(name) => Self::Ref(name),
        }
    }
}

impl From<MaintenanceError> for CommandError {
    fn from(error: MaintenanceError) -> Self {
        match error {
            MaintenanceError::Commit(e) => e.into(),
            MaintenanceError::Write(e) => Self::Unavailable(base::fault::chain(&e)),
            MaintenanceError::Invalid(text) => Self::Invalid(text),
        }
    }
}

/// `name` in the default namespace first, then in any; or `namespace.name`.
pub(crate) fn find(tables: &Tables, text: &str) -> Result<TableIdent, CommandError> {
    let default = tables.ident(text);
    let all = all_tables(tables)?;
    if all.contains(&default) {
        return Ok(default);
    }
    let named = |ident: &&TableIdent| ident.name == text || ident.to_string() == text;
    let found: Vec<&TableIdent> = all.iter().filter(named).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(CommandError::NotFound(format!(
            "there is no table {text}; `frazil table list` shows what there is"
        ))),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(CommandError::Invalid(format!(
                "{text} could be any of {}: name the namespace",
                names.join(", ")
            )))
        }
    }
}

pub(crate) async fn act(
    duties: &Duties,
    table: &str,
    action: TableAction,
) -> Result<TableAnswer, CommandError> {
    let tables = &duties.deps.tables;
    let ident = find(tables, table).map_err(|error| match error {
        CommandError::NotFound(_) => no_such_table(duties, table),
        error => error,
    })?;
    let table = ident.to_string();
    let _turn = if action.takes_turn() { Some(duties.upkeep.turn.lock().await) } else { None };
    match action {
        TableAction::Compact { dry_run, all } => compact(tables, &ident, dry_run, all).await,
        TableAction::ExpireSnapshots { dry_run, older_than_ms, retain_last } => {
            let done =
                tables.expire_snapshots(&ident, &Expire { dry_run, older_than_ms, retain_last }).await?;
            let (snapshots, refs, snapshots_left, files) = (done.snapshots, done.refs, done.left, done.files);
            Ok(TableAnswer::Expired { table, dry_run, snapshots, refs, snapshots_left, files })
        }
        TableAction::RemoveOrphans { dry_run, min_age_ms } => {
            let found =
                tables.remove_orphans(&ident, &Orphans { dry_run, older_than_ms: min_age_ms }).await?;
            let first = |files: &[String]| files.iter().take(LISTED_MAX).cloned().collect();
            Ok(TableAnswer::Orphans {
                table,
                dry_run,
                removed: found.removed.len(),
                removed_bytes: found.removed_bytes,
                waiting: found.waiting.len(),
                waiting_bytes: found.waiting_bytes,
                removed_files: first(&found.removed),
                waiting_files: first(&found.waiting),
            })
        }
        TableAction::RewriteManifests {} => {
            let done = tables.rewrite_manifests(&ident, true).await?;
            let (snapshot_id, before, after) = (done.snapshot_id, done.before, done.after);
            Ok(TableAnswer::Manifests { table, snapshot_id, before, after })
        }
        TableAction::ReplayDlq { dry_run, limit } => {
            let main = main_of(&ident);
            Ok(TableAnswer::Replayed(replay::replay(duties, &main, How { dry_run, limit }).await?))
        }
        TableAction::Rollback { dry_run, to } => {
            let snapshot_id = roll_back(duties, &ident, dry_run, &to.into()).await?;
            Ok(TableAnswer::RolledBack { table, dry_run, snapshot_id })
        }
        TableAction::CreateRef { name, kind, snapshot_id, max_age_ms, replace } => {
            let new = NewRef { name, kind: kind.into(), snapshot_id, max_age_ms, replace };
            let made = tables.create_ref(&ident, new).await?;
            Ok(TableAnswer::Refs { table, refs: vec![made.into()] })
        }
        TableAction::DropRef { name, kind } => {
            tables.drop_ref(&ident, &name, kind.into()).await?;
            Ok(TableAnswer::Refs { table, refs: Vec::new() })
        }
        TableAction::ListRefs {} => {
            let refs = tables.load(&ident).await?.refs()?.into_iter().map(RefAnswer::from).collect();
            Ok(TableAnswer::Refs { table, refs })
        }
    }
}

/// The snapshot that main has, or would have, afterwards.
async fn roll_back(
    duties: &Duties,
    ident: &TableIdent,
    dry_run: bool,
    to: &RollbackTo,
) -> Result<i64, CommandError> {
    if let Some(main) = ident.name.strip_suffix(DEAD_LETTER_SUFFIX) {
        // Its table is further: what is taken back here would never be read again.
        return Err(CommandError::Invalid(format!(
            "dead letters go with their table: roll back {main}, and its dead letters are kept"
        )));
    }
    let tables = &duties.deps.tables;
    let snapshot_id = match dry_run {
        true => rollback_target(&tables.load(ident).await?, to)?,
        false => tables.rollback(ident, to).await?,
    };
    tell_feeder(duties, ident);
    Ok(snapshot_id)
}

async fn compact(
    tables: &Tables,
    ident: &TableIdent,
    dry_run: bool,
    all: bool,
) -> Result<TableAnswer, CommandError> {
    let how = Compact { dry_run, all, stop: None };
    let mut total = tables.compact(ident, &how).await?;
    // Each commit leaves less to do; while others write, somebody has to stop.
    for _ in 0..1_000 {
        if dry_run || !total.more || total.snapshot_id.is_none() {
            break;
        }
        let next = tables.compact(ident, &how).await?;
        total.more = next.more && next.snapshot_id.is_some();
        total.snapshot_id = next.snapshot_id.or(total.snapshot_id);
        total.files_before += next.files_before;
        total.files_after += next.files_after;
        total.bytes_before += next.bytes_before;
        total.bytes_after += next.bytes_after;
        total.rows += next.rows;
        total.left_alone = next.left_alone;
    }
    Ok(TableAnswer::Compacted {
        table: ident.to_string(),
        dry_run,
        snapshot_id: total.snapshot_id,
        files_before: total.files_before,
        files_after: total.files_after,
        bytes_before: total.bytes_before,
        bytes_after: total.bytes_after,
        rows: total.rows,
        left_alone: total.left_alone,
    })
}

/// The table itself, also of its dead letters.
fn main_of(ident: &TableIdent) -> TableIdent {
    let name = ident.name.strip_suffix(DEAD_LETTER_SUFFIX).unwrap_or(&ident.name).to_owned();
    TableIdent { name, ..ident.clone() }
}

/// The task that feeds the table looks where it stands now.
fn tell_feeder(duties: &Duties, ident: &TableIdent) {
    let main = main_of(ident);
    let fed = queries::mode::topic_of(&duties.deps.topics, &duties.deps.tables, &main);
    if let Some(link) = fed.and_then(|(info, _)| duties.table_link(info.id)) {
        link.look_again.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_strictly() {
        let read = |text: &str| serde_json::from_str::<TableAction>(text);
        assert!(matches!(
            read(r#"{"action":"compact"}"#),
            Ok(TableAction::Compact { dry_run: false, all: false })
        ));
        let rollback = read(r#"{"action":"rollback","snapshot_id":7}"#);
        assert!(
            matches!(rollback, Ok(TableAction::Rollback { to: RollbackTarget::SnapshotId(7), .. })),
            "{rollback:?}"
        );
        let by_tag = read(r#"{"action":"rollback","ref":"v1","dry_run":true}"#);
        assert!(
            matches!(by_tag, Ok(TableAction::Rollback { to: RollbackTarget::Ref(_), dry_run: true })),
            "{by_tag:?}"
        );
        for bad in [
            "{}",
            r#"{"action":"compact","dryrun":true}"#,
            r#"{"action":"rollback"}"#,
            r#"{"action":"create_ref","name":"x"}"#,
            r#"{"action":"create_ref","name":"x","kind":"twig"}"#,
            r#"{"action":"vacuum"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

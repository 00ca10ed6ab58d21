//! Keeping tables in shape without being asked: compaction, snapshot expiry, manifests, orphans.
//!
//! Owns: when each is done to which table, one at a time per node; what status shows of it.
//! Does not own: what is done (`tables::maintenance`); actions that somebody asks for ([`action`]).
//! Invariants: never more than one piece of maintenance at once, asked for or not; none begins after the node was told
//! to stop; a table that fails is left for later and keeps no other waiting.

pub(crate) mod action;
mod due;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use base::fault::chain;
use base::{Shutdown, TaskKind};
use futures::FutureExt;
use parking_lot::Mutex;
use tables::maintenance::{Compact, Expire, MaintenanceError, Orphans, switches};
use tables::{CommitError, Table, TableIdent, Tables};
use tokio::sync::Mutex as AsyncMutex;

use crate::duties::Duties;
use crate::status::{TableUpkeepStatus, UpkeepStatus};
use due::{Due, Work};

/// When tables are looked at. Parts can be switched off for the node here, for a table by its properties.
#[derive(Debug, Clone, PartialEq)]
pub struct UpkeepSettings {
    /// Off: nothing is done unasked.
    pub enabled: bool,
    pub compaction: bool,
    pub expiry: bool,
    pub manifests: bool,
    pub orphans: bool,
    /// How often the tables are looked at.
    pub look_every: Duration,
    /// A table is not compacted more often.
    pub compact_every: Duration,
    /// Snapshots are thinned, and manifests counted, so often.
    pub expire_every: Duration,
    /// Orphans are looked for so often.
    pub orphans_every: Duration,
    /// A table whose maintenance has failed is left alone for so long.
    pub retry_after: Duration,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            compaction: true,
            expiry: true,
            manifests: true,
            orphans: true,
            look_every: Duration::from_secs(10),
            compact_every: Duration::from_secs(30),
            expire_every: Duration::from_secs(300),
            orphans_every: Duration::from_secs(86_400),
            retry_after: Duration::from_secs(300),
        }
    }
}

/// What all maintenance of a node shares.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// Held while something is done to a table.
    turn: AsyncMutex<()>,
    view: Mutex<View>,
}

#[derive(Debug, Default)]
struct View {
    running: Option<String>,
    tables: BTreeMap<TableIdent, TableUpkeepStatus>,
}

impl Upkeep {
    pub(crate) fn status(&self, duties: &Duties) -> UpkeepStatus {
        let view = self.view.lock();
        let with_waiting = |(ident, status): (&TableIdent, &TableUpkeepStatus)| TableUpkeepStatus {
            files_waiting: duties.deps.tables.doomed(ident) as u64,
            ..status.clone()
        };
        UpkeepStatus {
            enabled: duties.settings.upkeep.enabled,
            running: view.running.clone(),
            tables: view.tables.iter().map(with_waiting).collect(),
        }
    }

    fn note(&self, ident: &TableIdent, change: impl FnOnce(&mut TableUpkeepStatus)) {
        let mut view = self.view.lock();
        let status = view.tables.entry(ident.clone()).or_default();
        status.table = ident.to_string();
        change(status);
    }

    fn running(&self, what: Option<String>) {
        self.view.lock().running = what;
    }
}

/// Starts the duty, where it is switched on.
pub(crate) fn start(duties: &Arc<Duties>) {
    if !duties.settings.upkeep.enabled {
        return;
    }
    let shared = Arc::clone(duties);
    let supervisor = duties.deps.supervisor.on(duties.deps.compute.clone());
    supervisor.spawn(TaskKind::TableUpkeep, "table upkeep", move |shutdown| async move {
        run(&shared, &shutdown).await;
        Ok(())
    });
}

async fn run(duties: &Arc<Duties>, shutdown: &Shutdown) {
    let mut due = Due::new(duties.settings.upkeep.clone(), duties.deps.clock.now_ms());
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(duties.settings.upkeep.look_every) => {}
        }
        let tables = match all_tables(&duties.deps.tables) {
            Ok(tables) => tables,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the tables cannot be listed");
                continue;
            }
        };
        due.keep_only(&tables);
        duties.upkeep.view.lock().tables.retain(|ident, _| tables.contains(ident));
        for ident in tables {
            look(duties, shutdown, &mut due, &ident).await;
            if shutdown.is_requested() {
                return;
            }
        }
    }
}

/// Every table of the catalog.
pub(crate) fn all_tables(tables: &Tables) -> Result<Vec<TableIdent>, tables::CatalogError> {
    let mut all = Vec::new();
    for namespace in tables.namespaces()? {
        all.extend(tables.tables(&namespace)?);
    }
    Ok(all)
}

/// Does to one table what is due.
async fn look(duties: &Arc<Duties>, shutdown: &Shutdown, due: &mut Due, ident: &TableIdent) {
    let tables = &duties.deps.tables;
    let now = duties.deps.clock.now_ms();
    let Ok(version) = tables.version(ident) else { return };
    let closing = tables.settings().maintenance.closed_after_ms;
    let work = due.look(ident, &version, now, closing, tables.doomed(ident) > 0);
    for piece in work {
        if shutdown.is_requested() {
            return;
        }
        let _turn = duties.upkeep.turn.lock().await;
        duties.upkeep.running(Some(format!("{} of {ident}", piece.word())));
        let done = AssertUnwindSafe(work_on(duties, shutdown, ident, piece)).catch_unwind().await;
        duties.upkeep.running(None);
        let done = done.unwrap_or_else(|_| Err(MaintenanceError::Invalid("it panicked; see the log".into())));
        match done {
            Ok(more) => due.done(ident, piece, duties.deps.clock.now_ms(), more),
            Err(_) if shutdown.is_requested() => return,
            Err(MaintenanceError::Commit(CommitError::RolledBack { .. })) => {
                // Its operator decides first; there is nothing to tell that status does not.
                due.failed(ident, duties.deps.clock.now_ms());
                return;
            }
            Err(error) => {
                let text = format!("{}: {}", piece.word(), chain(&error));
                tracing::warn!(table = %ident, reason = %text, "maintenance of a table has failed; it is tried again");
                duties.upkeep.note(ident, |status| status.message = Some(text));
                due.failed(ident, duties.deps.clock.now_ms());
                return;
            }
        }
    }
}

/// One piece of work; says whether there is more of it.
async fn work_on(
    duties: &Duties,
    shutdown: &Shutdown,
    ident: &TableIdent,
    piece: Work,
) -> Result<bool, MaintenanceError> {
    let tables = &duties.deps.tables;
    let table = match tables.load(ident).await {
        Err(tables::CatalogError::NoSuchTable(_)) => return Ok(false),
        other => other?,
    };
    if !allowed(&duties.settings.upkeep, &table, piece) {
        return Ok(false);
    }
    let now = duties.deps.clock.now_ms();
    let note = |change: &dyn Fn(&mut TableUpkeepStatus)| {
        duties.upkeep.note(ident, |status| {
            status.message = None;
            change(status);
        });
    };
    match piece {
        Work::Compact => {
            let how = Compact { stop: Some(shutdown.clone()), ..Compact::default() };
            let done = tables.compact(ident, &how).await?;
            if done.snapshot_id.is_some() {
                tracing::info!(table = %ident, files = done.files_before, into = done.files_after, "compacted");
                note(&|status| {
                    status.files_compacted += done.files_before as u64;
                    status.last_compaction_ms = Some(now);
                });
            }
            duties.upkeep.note(ident, |status| status.left_alone = done.left_alone.first().cloned());
            Ok(done.more && done.snapshot_id.is_some())
        }
        Work::Expire => {
            let done = tables.expire_snapshots(ident, &Expire::default()).await?;
            note(&|status| status.snapshots_expired += done.snapshots.len() as u64);
            Ok(false)
        }
        Work::Manifests => {
            let done = tables.rewrite_manifests(ident, false).await?;
            note(&|status| status.manifests = done.after as u64);
            Ok(false)
        }
        Work::Delete => {
            let deleted = tables.delete_doomed(ident).await?;
            note(&|status| status.files_deleted += deleted as u64);
            Ok(false)
        }
        Work::Orphans => {
            let found = tables.remove_orphans(ident, &Orphans::default()).await?;
            if !found.removed.is_empty() {
                tracing::info!(table = %ident, files = found.removed.len(), bytes = found.removed_bytes, "orphans removed");
            }
            note(&|status| status.orphans_removed += found.removed.len() as u64);
            Ok(!found.waiting.is_empty())
        }
    }
}

/// Whether neither node nor table has switched it off.
fn allowed(settings: &UpkeepSettings, table: &Table, piece: Work) -> bool {
    match piece {
        Work::Compact => settings.compaction && switches::compaction(table),
        Work::Expire => settings.expiry && switches::expiry(table),
        // What was expired is deleted, unless somebody has switched all deleting off since.
        Work::Delete => switches::expiry(table),
        Work::Manifests => settings.manifests && switches::manifests(table),
        Work::Orphans => settings.orphans && switches::orphans(table),
    }
}

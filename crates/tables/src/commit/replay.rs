//! Commits of a move: rows come with a marker, the marker goes.
//!
//! Owns: the loops around both commits.
//! Does not own: the marker's form and the account (`replay`), what is moved.
//! Invariants: rows and open marker are one commit, made only when the table has had exactly the moves that were seen
//! before the rows were read, none of them open; so no row is brought twice. A marker is closed by its number.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::Operation;
use iceberg::{TableRequirement, TableUpdate};

use crate::catalog::{CatalogError, Table, TableIdent, Tables};
use crate::commit::append::{Attempt, check_same_table, pause, too_busy};
use crate::commit::facts::{Facts, made_by};
use crate::commit::snapshot::{Change, Counts};
use crate::commit::{CommitError, CommitOutcome, recorded_progress};
use crate::maintenance::refs::same_table;
use crate::replay::{REPLAY_KEY, REPLAYED, Replay, Replays, moved};
use crate::writer::StagedFiles;

impl Tables {
    /// Appends the rows of a move with its open marker; returns the snapshot. `seen` is how many moves the table had had
    /// when the rows were read. `RequirementFailed`: there was another one since, read again.
    pub async fn append_replayed(
        &self,
        ident: &TableIdent,
        staged: StagedFiles,
        seen: u64,
        replay: &Replay,
    ) -> Result<i64, CommitError> {
        if staged.is_empty() || staged.rows() != replay.rows() {
            let why = format!("{} rows are staged, {} move", staged.rows(), replay.rows());
            return Err(CommitError::Invalid(why));
        }
        let first = self.load(ident).await?;
        check_same_table(&first, &staged)?;
        let summary = BTreeMap::from([(REPLAYED.to_owned(), replay.rows().to_string())]);
        let mut change = Change::new(Operation::Append, summary, self.lease());
        change.counts = Counts::of(&staged.files);
        change.replay = Some((seen + 1, replay.clone()));
        change.added.push(self.stage_manifest(&first, &staged.files, staged.spec_id, &change).await?);
        let attempts = self.settings().commit_attempts.max(1);
        let mut unknown = None;
        for attempt in 0..attempts {
            pause(attempt).await;
            let _turn = self.turn(ident).await;
            let outcome = match self.load(ident).await {
                Ok(table) => {
                    check_same_table(&table, &staged)?;
                    self.bring(&table, &change, seen, replay).await?
                }
                Err(e @ CatalogError::NoSuchTable(_)) => return Err(e.into()),
                Err(e) => Attempt::Unknown(e),
            };
            match outcome {
                Attempt::Done(CommitOutcome::Committed { snapshot_id, .. }) => return Ok(snapshot_id),
                Attempt::Done(CommitOutcome::AlreadyDone { .. }) | Attempt::Rejected => {}
                Attempt::Unknown(e) => unknown = Some(e),
            }
        }
        match unknown {
            Some(e) => {
                change.lease.keep();
                staged.keep();
                Err(CommitError::Unknown { attempts, source: Box::new(e) })
            }
            None => Err(too_busy(ident, attempts)),
        }
    }

    async fn bring(
        &self,
        table: &Table,
        change: &Change,
        seen: u64,
        replay: &Replay,
    ) -> Result<Attempt, CommitError> {
        let replays = table.replays()?;
        let ours = replays.open.as_ref().is_some_and(|open| open.id == replay.id);
        // An id of ours proves that an earlier attempt was made.
        let made =
            made_by(&table.metadata, &change.commit_id).map(|s| (s.snapshot_id(), s.sequence_number()));
        if let Some((snapshot_id, sequence)) =
            made.or_else(|| ours.then_some((change.snapshot_id, replays.sequence)))
        {
            return Ok(Attempt::Done(CommitOutcome::Committed { snapshot_id, sequence }));
        }
        if replays.generation != seen || replays.open.is_some() {
            let why = format!("dead letters of {} are replayed by somebody else", table.ident);
            return Err(CommitError::RequirementFailed(why));
        }
        let progress = recorded_progress(table, &Facts::gather(&table.metadata)?)?;
        let progress = moved(&progress, replay).map_err(CommitError::Invalid)?;
        self.try_commit(table, change, Some(&progress)).await
    }

    /// Closes the marker of move number `generation`: its rows are nowhere else. One that is closed is left as it is.
    pub async fn close_replay(&self, ident: &TableIdent, generation: u64) -> Result<(), CommitError> {
        let attempts = self.settings().commit_attempts.max(1);
        for attempt in 0..attempts {
            pause(attempt).await;
            let table = self.load(ident).await?;
            let replays = table.replays()?;
            if replays.open.is_none() || replays.generation != generation {
                return Ok(());
            }
            let closed = Replays { open: None, ..replays }.encode();
            // A later move makes a snapshot: its marker cannot be closed by mistake.
            let requirements = vec![
                same_table(&table),
                TableRequirement::RefSnapshotIdMatch {
                    r#ref: iceberg::spec::MAIN_BRANCH.into(),
                    snapshot_id: table.current_snapshot_id(),
                },
            ];
            let updates = HashMap::from([(REPLAY_KEY.to_owned(), closed)]);
            match self.commit(ident, requirements, vec![TableUpdate::SetProperties { updates }]).await {
                Ok(_) => return Ok(()),
                Err(CommitError::RequirementFailed(_)) => {}
                // Made or not, the next look tells.
                Err(CommitError::Catalog(e)) if !matches!(e, CatalogError::NoSuchTable(_)) => {
                    tracing::warn!(table = %ident, error = %e, "closing the marker of a replay: looking again");
                }
                Err(e) => return Err(e),
            }
        }
        Err(too_busy(ident, attempts))
    }
}

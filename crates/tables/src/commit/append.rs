//! The loop around the commit.
//!
//! Owns: append, evolve, resume: load, gather facts, decide, write on condition, look again.
//! Invariants: as in `commit`; attempts are bounded and spread by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{Operation, TableMetadataBuilder};
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use crate::catalog::{CatalogError, Table, TableIdent, Tables};
use crate::columns::evolve::evolved;
use crate::commit::decide::{self, Decision, Proposal};
use crate::commit::facts::{Facts, made_by};
use crate::commit::snapshot::{Change, Counts};
use crate::commit::{CommitError, CommitOutcome, refusal};
use crate::progress::{Advance, Progress, Recorded};
use crate::writer::StagedFiles;

/// How one attempt ended, when it did not end the append.
pub(super) enum Attempt {
    Done(CommitOutcome),
    /// Definitely not made.
    Rejected,
    /// Nobody knows.
    Unknown(CatalogError),
}

impl Tables {
    /// Appends staged files and moves progress, exactly once: reload, gather facts, `commit::decide`, conditional
    /// write; any reply that is not a definite rejection is looked up again. `staged` may be empty (offsets only).
    /// `summary` adds properties to the snapshot (counts of dead letters, dropped and skipped records).
    pub async fn append(
        &self,
        ident: &TableIdent,
        staged: StagedFiles,
        advances: Vec<Advance>,
        summary: BTreeMap<String, String>,
    ) -> Result<CommitOutcome, CommitError> {
        check_advances(&advances)?;
        self.let_guests_through(ident).await;
        let first = self.load(ident).await?;
        check_same_table(&first, &staged)?;
        let mut change = Change::new(Operation::Append, summary, self.lease());
        change.counts = Counts::of(&staged.files);
        if !staged.is_empty() {
            change.added.push(self.stage_manifest(&first, &staged.files, staged.spec_id, &change).await?);
        }
        let attempts = self.settings().commit_attempts.max(1);
        let (mut base, mut table, mut unknown) = (first.current_snapshot_id(), Some(first), None);
        for attempt in 0..attempts {
            #[cfg(feature = "sabotage")]
            if unknown.is_some() && crate::sabotage::BLIND_RETRY.load(std::sync::atomic::Ordering::Relaxed) {
                return self.append_blindly(ident, &staged, &advances).await;
            }
            pause(attempt).await;
            let _turn = self.turn(ident).await;
            let current = match table.take() {
                Some(table) => Ok(table),
                None => self.load(ident).await,
            };
            let outcome = match current {
                Ok(current) => {
                    check_same_table(&current, &staged)?;
                    self.attempt(&current, &change, &mut base, &advances, unknown.is_some()).await?
                }
                Err(e @ CatalogError::NoSuchTable(_)) => return Err(e.into()),
                Err(e) => Attempt::Unknown(e),
            };
            match outcome {
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::Rejected => {}
                // Without ranges only the commit id could tell, and a missing one proves nothing.
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

    /// What a client does that does not ask whether its first attempt was made.
    #[cfg(feature = "sabotage")]
    async fn append_blindly(
        &self,
        ident: &TableIdent,
        staged: &StagedFiles,
        advances: &[Advance],
    ) -> Result<CommitOutcome, CommitError> {
        let table = self.load(ident).await?;
        let mut change = Change::new(Operation::Append, BTreeMap::new(), self.lease());
        change.counts = Counts::of(&staged.files);
        change.added.push(self.stage_manifest(&table, &staged.files, staged.spec_id, &change).await?);
        match self.make(&table, &change, &Facts::gather(&table.metadata)?, advances).await? {
            Attempt::Done(outcome) => Ok(outcome),
            Attempt::Rejected | Attempt::Unknown(_) => Err(too_busy(ident, 1)),
        }
    }

    async fn attempt(
        &self,
        table: &Table,
        change: &Change,
        base: &mut Option<i64>,
        advances: &[Advance],
        was_unknown: bool,
    ) -> Result<Attempt, CommitError> {
        // Our id on the chain proves that an earlier attempt was made.
        if let Some(made) = made_by(&table.metadata, &change.commit_id) {
            let (snapshot_id, sequence) = (made.snapshot_id(), made.sequence_number());
            return Ok(Attempt::Done(CommitOutcome::Committed { snapshot_id, sequence }));
        }
        if was_unknown && advances.is_empty() {
            return Ok(Attempt::Unknown(CatalogError::Invalid(
                "an append without ranges cannot be told apart from one that was made".into(),
            )));
        }
        let facts = Facts::gather(&table.metadata)?;
        let mut decision = decide::decide(&facts, &Proposal { base: *base, advances });
        if decision == Decision::Rebase {
            *base = facts.head;
            decision = decide::decide(&facts, &Proposal { base: *base, advances });
        }
        match decision {
            Decision::Commit => self.make(table, change, &facts, advances).await,
            Decision::AlreadyDone => {
                let carrier = facts.carrier.as_ref().map(|c| c.snapshot_id).or(facts.head);
                let snapshot_id = carrier.unwrap_or_default();
                Ok(Attempt::Done(CommitOutcome::AlreadyDone { snapshot_id }))
            }
            refused => Err(refusal(table, &facts, refused)),
        }
    }

    async fn make(
        &self,
        table: &Table,
        change: &Change,
        facts: &Facts,
        advances: &[Advance],
    ) -> Result<Attempt, CommitError> {
        let progress = (!advances.is_empty()).then(|| advanced(facts, advances));
        self.try_commit(table, change, progress.as_ref()).await
    }

    pub(super) async fn try_commit(
        &self,
        table: &Table,
        change: &Change,
        progress: Option<&Progress>,
    ) -> Result<Attempt, CommitError> {
        let prepared = match self.prepare(table, change, progress).await {
            Ok(prepared) => prepared,
            // Old metadata was read while somebody removed it: look again.
            Err(CommitError::Catalog(e @ CatalogError::Objects(_))) => return Ok(Attempt::Unknown(e)),
            Err(e) => return Err(e),
        };
        match self.commit(&table.ident, prepared.requirements, prepared.updates).await {
            Ok(_) => {
                let (snapshot_id, sequence) = (change.snapshot_id, prepared.sequence);
                Ok(Attempt::Done(CommitOutcome::Committed { snapshot_id, sequence }))
            }
            Err(CommitError::RequirementFailed(_)) => {
                self.delete_rejected(&prepared.files).await;
                Ok(Attempt::Rejected)
            }
            Err(e @ CommitError::Invalid(_)) => {
                self.delete_rejected(&prepared.files).await;
                Err(e)
            }
            // These come up before the pointer moves.
            Err(e @ CommitError::Catalog(CatalogError::NoSuchTable(_) | CatalogError::Format(_))) => Err(e),
            Err(CommitError::Catalog(e)) => Ok(Attempt::Unknown(e)),
            Err(e) => Err(e),
        }
    }

    pub(crate) async fn delete_rejected(&self, files: &[String]) {
        for file in files {
            if let Err(error) = self.objects().delete(file).await {
                tracing::warn!(%file, %error, "a file of a rejected commit stays");
            }
        }
    }

    /// Adds columns (optional ones, at the end) so that `schema` fits; refuses anything else by name.
    pub async fn evolve(&self, ident: &TableIdent, schema: &SchemaRef) -> Result<Table, CommitError> {
        let attempts = self.settings().commit_attempts.max(1);
        for attempt in 0..attempts {
            pause(attempt).await;
            let _turn = self.turn(ident).await;
            let table = self.load(ident).await?;
            let metadata = &table.metadata;
            let Some(new) = evolved(metadata.current_schema(), metadata.last_column_id(), schema)? else {
                return Ok(table);
            };
            let requirements = vec![
                TableRequirement::UuidMatch { uuid: metadata.uuid() },
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::LastAssignedFieldIdMatch {
                    last_assigned_field_id: metadata.last_column_id(),
                },
            ];
            let updates = vec![
                TableUpdate::AddSchema { schema: new },
                TableUpdate::SetCurrentSchema { schema_id: TableMetadataBuilder::LAST_ADDED },
            ];
            match self.commit(ident, requirements, updates).await {
                Err(CommitError::RequirementFailed(_)) => {}
                // Made or not, the next look at the columns tells.
                Err(CommitError::Catalog(e)) if !matches!(e, CatalogError::NoSuchTable(_)) => {
                    tracing::warn!(table = %ident, error = %e, "changing columns: looking again");
                }
                done => return done,
            }
        }
        Err(too_busy(ident, attempts))
    }

    /// Accepts the table's present state as the truth after `RolledBack` or `Diverged`: writes `progress` as property and carrier.
    pub async fn accept_progress(
        &self,
        ident: &TableIdent,
        progress: Progress,
    ) -> Result<Table, CommitError> {
        let summary = BTreeMap::from([("frazil.resumed".to_owned(), "true".to_owned())]);
        let change = Change::new(Operation::Append, summary, self.lease());
        let attempts = self.settings().commit_attempts.max(1);
        let mut unknown = None;
        for attempt in 0..attempts {
            pause(attempt).await;
            let _turn = self.turn(ident).await;
            let table = self.load(ident).await?;
            if made_by(&table.metadata, &change.commit_id).is_some() {
                return Ok(table);
            }
            match self.try_commit(&table, &change, Some(&progress)).await? {
                Attempt::Done(_) => return Ok(self.load(ident).await?),
                Attempt::Rejected => {}
                Attempt::Unknown(e) => unknown = Some(e),
            }
        }
        match unknown {
            Some(e) => {
                change.lease.keep();
                Err(CommitError::Unknown { attempts, source: Box::new(e) })
            }
            None => Err(too_busy(ident, attempts)),
        }
    }
}

/// Recorded progress with the advances made.
fn advanced(facts: &Facts, advances: &[Advance]) -> Progress {
    // With the fence off (sabotage only) a table may be committed to although it was rolled back.
    let recorded = decide::recorded(facts);
    let mut progress = recorded
        .unwrap_or_else(|_| facts.carrier.as_ref().map(|c| c.carried.progress.clone()).unwrap_or_default());
    for advance in advances {
        let recorded = Recorded::after(progress.get(&advance.source), advance);
        progress.insert(advance.source, recorded);
    }
    progress
}

fn check_advances(advances: &[Advance]) -> Result<(), CommitError> {
    let mut sources = BTreeSet::new();
    for Advance { source, from, to, .. } in advances {
        if to.next < *from || *from < 0 {
            let why = format!("{source}: [{from}, {}) is no range of offsets", to.next);
            return Err(CommitError::Invalid(why));
        }
        if !sources.insert(source) {
            return Err(CommitError::Invalid(format!("{source} is named twice in one commit")));
        }
    }
    Ok(())
}

pub(super) fn check_same_table(table: &Table, staged: &StagedFiles) -> Result<(), CommitError> {
    match staged.table {
        Some(uuid) if uuid != table.uuid() => Err(CommitError::Invalid(format!(
            "table {} was dropped and made again: files staged for the old one do not belong to it",
            table.ident
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn too_busy(ident: &TableIdent, attempts: u32) -> CommitError {
    CommitError::RequirementFailed(format!("table {ident} changed {attempts} times meanwhile; try again"))
}

/// Nothing before the first attempt; then up to 10 ms more each time, by chance, so that rivals do not march in step.
pub(crate) async fn pause(attempt: u32) {
    if attempt > 0 {
        let chance = Uuid::new_v4().as_u128() as u64 % 10;
        tokio::time::sleep(Duration::from_millis(1 + u64::from(attempt.min(10)) * chance)).await;
    }
}

//! Commits that put files in place of others: the same rows, laid out anew.
//!
//! Owns: the look whether what is replaced is still there, on every attempt; the loop around the commit.
//! Does not own: choosing and writing files (`maintenance`).
//! Invariants: a replacement is committed only on a base where every file it replaces is live and no delete file touches
//! their partitions; what does not hold any more is dropped, outputs and all. The recorded progress is carried along: a
//! table that is rolled back to a replacement knows where it stands. A table that was rolled back is left alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{DataContentType, DataFile, ManifestContentType, Operation, Struct};

use crate::catalog::{CatalogError, Table, Tables};
use crate::commit::append::{Attempt, pause, too_busy};
use crate::commit::facts::{Facts, made_by};
use crate::commit::layout::Layout;
use crate::commit::snapshot::{Change, Counts, schema_for};
use crate::commit::{CommitError, CommitOutcome, recorded_progress};
use crate::manifests::{LiveEntry, promoted_partition};
use crate::scan::may_be_alive;
use crate::writer::StagedFiles;

/// Files of one partition in place of others.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) spec_id: i32,
    pub(crate) partition: Struct,
    pub(crate) inputs: Vec<LiveEntry>,
    pub(crate) outputs: StagedFiles,
}

/// What kind of commit it is.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) layout: Layout,
    pub(crate) operation: Operation,
    pub(crate) summary: BTreeMap<String, String>,
}

/// What became of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// None when nothing was left to commit.
    pub(crate) snapshot_id: Option<i64>,
    /// Indices of the exchanges that were committed.
    pub(crate) made: Vec<usize>,
}

/// What a snapshot has, as far as exchanges care.
pub(crate) struct Standing {
    manifests: Vec<(i32, Arc<Vec<LiveEntry>>)>,
    pub(crate) deletes: Deletes,
}

/// Partitions that delete files touch.
#[derive(Debug, Default)]
pub(crate) struct Deletes {
    partitions: HashSet<(i32, Struct)>,
    /// An equality delete without partition touches all.
    everywhere: bool,
    pub(crate) files: usize,
}

impl Deletes {
    pub(crate) fn touch(&self, spec_id: i32, partition: &Struct) -> bool {
        self.everywhere || self.partitions.contains(&(spec_id, partition.clone()))
    }
}

impl Standing {
    /// Live data files with the ids of their specs.
    pub(crate) fn files(&self) -> impl Iterator<Item = (i32, &LiveEntry)> {
        self.manifests.iter().flat_map(|(spec_id, entries)| entries.iter().map(move |e| (*spec_id, e)))
    }

    /// Indices of the exchanges that can still be made.
    fn valid(&self, exchanges: &[Exchange]) -> Vec<usize> {
        let wanted: HashMap<&str, usize> = exchanges
            .iter()
            .enumerate()
            .flat_map(|(at, e)| e.inputs.iter().map(move |input| (input.file.file_path(), at)))
            .collect();
        let mut live = vec![0; exchanges.len()];
        for at in self.files().filter_map(|(_, entry)| wanted.get(entry.file.file_path())) {
            live[*at] += 1;
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::REVALIDATION_OFF.load(std::sync::atomic::Ordering::Relaxed) {
            return (0..exchanges.len()).collect();
        }
        let holds = |(at, e): &(usize, &Exchange)| {
            live[*at] == e.inputs.len() && !self.deletes.touch(e.spec_id, &e.partition)
        };
        exchanges.iter().enumerate().filter(holds).map(|(at, _)| at).collect()
    }
}

/// The partition of a file in the types that its columns have now: of a column that was widened, old and new files of
/// a value belong together.
pub(crate) fn present_partition(table: &Table, spec_id: i32, entry: &LiveEntry) -> Struct {
    let metadata = &table.metadata;
    let spec = metadata.partition_spec_by_id(spec_id);
    let wanted = spec.and_then(|spec| spec.partition_type(schema_for(metadata, spec)).ok());
    let partition = entry.file.partition();
    wanted.and_then(|wanted| promoted_partition(partition, &wanted)).unwrap_or_else(|| partition.clone())
}

impl Tables {
    /// The live files of main's head.
    pub(crate) async fn standing(&self, table: &Table) -> Result<Standing, CatalogError> {
        let mut standing = Standing { manifests: Vec::new(), deletes: Deletes::default() };
        let Some(head) = table.metadata.current_snapshot() else { return Ok(standing) };
        for manifest in self.manifest_list(&table.metadata, head).await?.iter().filter(|m| may_be_alive(m)) {
            let entries = self.manifest(manifest.clone()).await?;
            if manifest.content == ManifestContentType::Data {
                standing.manifests.push((manifest.partition_spec_id, entries));
                continue;
            }
            for entry in entries.iter() {
                let spec_id = manifest.partition_spec_id;
                let plain =
                    table.metadata.partition_spec_by_id(spec_id).is_none_or(|s| s.fields().is_empty());
                let equality = entry.file.content_type() == DataContentType::EqualityDeletes;
                standing.deletes.everywhere |= plain && equality;
                standing.deletes.partitions.insert((spec_id, present_partition(table, spec_id, entry)));
                standing.deletes.files += 1;
            }
        }
        Ok(standing)
    }

    /// Commits the exchanges that hold, on whatever base there is. Files of those that do not are deleted, unless an
    /// outcome is unknown.
    pub(crate) async fn replace(
        &self,
        planned_on: &Table,
        exchanges: Vec<Exchange>,
        replacement: Replacement,
    ) -> Result<Replaced, CommitError> {
        let ident = &planned_on.ident;
        let Replacement { layout, operation, summary } = replacement;
        let mut change = Change::new(operation, summary, self.lease());
        change.layout = layout;
        let attempts = self.settings().commit_attempts.max(1);
        let (mut tried, mut unknown) = (Vec::new(), None);
        for attempt in 0..attempts {
            pause(attempt).await;
            // Nobody waits for the first attempt; the others would lose to frequent appends again.
            let _turn = if attempt > 0 { Some(self.turn(ident).await) } else { None };
            let table = self.load(ident).await?;
            if table.uuid() != planned_on.uuid() {
                let why = format!("table {ident} was dropped and made again");
                return Err(CommitError::Invalid(why));
            }
            if let Some(made) = made_by(&table.metadata, &change.commit_id) {
                return Ok(Replaced { snapshot_id: Some(made.snapshot_id()), made: tried });
            }
            let facts = Facts::gather(&table.metadata)?;
            let recorded = recorded_progress(&table, &facts)?;
            let carries = facts.carrier.is_some() || facts.property.is_some();
            let valid = self.standing(&table).await?.valid(&exchanges);
            if valid.is_empty() && !exchanges.is_empty() {
                if unknown.is_none() {
                    self.discard(&exchanges, &[]).await;
                }
                return Ok(Replaced::default());
            }
            let rejected: Vec<String> = change.added.iter().map(|m| m.manifest_path.clone()).collect();
            if unknown.is_none() {
                self.delete_rejected(&rejected).await;
            }
            self.fill(&mut change, &table, &exchanges, &valid).await?;
            tried = valid;
            match self.try_commit(&table, &change, carries.then_some(&recorded)).await? {
                Attempt::Done(CommitOutcome::Committed { snapshot_id, .. }) => {
                    if unknown.is_none() {
                        self.discard(&exchanges, &tried).await;
                    }
                    return Ok(Replaced { snapshot_id: Some(snapshot_id), made: tried });
                }
                Attempt::Done(CommitOutcome::AlreadyDone { .. }) | Attempt::Rejected => {}
                Attempt::Unknown(e) => {
                    change.lease.keep();
                    exchanges.iter().for_each(|e| e.outputs.keep());
                    unknown = Some(e);
                }
            }
        }
        match unknown {
            Some(e) => Err(CommitError::Unknown { attempts, source: Box::new(e) }),
            None => Err(too_busy(ident, attempts)),
        }
    }

    /// Puts the valid exchanges into the change; one manifest per spec.
    async fn fill(
        &self,
        change: &mut Change,
        table: &Table,
        exchanges: &[Exchange],
        valid: &[usize],
    ) -> Result<(), CommitError> {
        let chosen = || valid.iter().filter_map(|at| exchanges.get(*at));
        change.added = Vec::new();
        change.removed =
            chosen().flat_map(|e| &e.inputs).map(|input| input.file.file_path().to_owned()).collect();
        change.removed_counts = Counts::of(chosen().flat_map(|e| &e.inputs).map(|input| &input.file));
        change.counts = Counts::of(chosen().flat_map(|e| &e.outputs.files));
        let mut by_spec: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
        for exchange in chosen() {
            by_spec.entry(exchange.spec_id).or_default().extend(exchange.outputs.files.iter().cloned());
        }
        for (spec_id, files) in by_spec.into_iter().filter(|(_, files)| !files.is_empty()) {
            let manifest = self.stage_manifest(table, &files, spec_id, change).await?;
            change.added.push(manifest);
        }
        Ok(())
    }

    /// Deletes the outputs of exchanges that were certainly not made.
    async fn discard(&self, exchanges: &[Exchange], made: &[usize]) {
        for (at, exchange) in exchanges.iter().enumerate() {
            if !made.contains(&at) {
                let files: Vec<String> =
                    exchange.outputs.files.iter().map(|f| f.file_path().to_owned()).collect();
                self.delete_rejected(&files).await;
            }
        }
    }
}

//! Topic → table: one task per topic that is a table.
//!
//! Owns: when a commit is made, what it covers, what happens when it cannot be made.
//! Does not own: decoding (queries/rows), files and the commit itself (tables).
//! Invariants: a commit covers everything between the table's progress and one cut; the dead-letter table commits
//! first; after any doubt the table's own progress is read again; no error ends the node.

mod accounting;
mod check;
mod decided;
mod link;
mod pace;
mod pending;
mod prepare;
mod range;
mod resume;
mod signals;
mod stage;
mod standing;
pub(crate) mod switches;
mod trouble;

pub(crate) use accounting::offsets_in;
pub use accounting::{BACKFILL, DEAD_LETTERS, DROPPED, DROPPED_OFFSETS, SKIPPED};
pub(crate) use check::{check_partitioning, check_topic};
pub(crate) use link::{CommitRequest, Link, State};
pub(crate) use prepare::prepare;
pub(crate) use resume::resume;
pub(crate) use standing::source;
pub(crate) use trouble::Trouble;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use base::{Offset, PartitionId, Shutdown, TopicId, TopicName};
use futures::FutureExt;
use tables::{Advance, CommitError, CommitOutcome, StagedFiles};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use topics::Cut;

use crate::backoff::Backoff;
use crate::duties::Duties;
use pace::{Pace, Waiting};
use pending::Pending;
use range::Range;
use signals::{any_changed, panic_text, sleep_until};
use stage::{Reached, Staged, stage};
use standing::{Positions, Standing};

/// The group under which lag tools see a table's task.
pub(crate) fn group(topic: &str) -> String {
    format!("frazil.materialize.{topic}")
}

/// Moves one life of one topic into its table.
pub(crate) struct Materializer {
    duties: Arc<Duties>,
    topic: TopicId,
    name: TopicName,
    group: String,
    link: Arc<Link>,
    requests: mpsc::Receiver<CommitRequest>,
    /// Requests that the next commit answers.
    asked: Vec<CommitRequest>,
    topic_changes: watch::Receiver<u64>,
    schema_changes: watch::Receiver<u64>,
    shutdown: Shutdown,
    backoff: Backoff,
    /// Where partitions began when this task first saw them: a table that has recorded nothing yet is owed everything
    /// from there on.
    begun: BTreeMap<PartitionId, Offset>,
    /// Gaps in a row.
    gaps: u32,
    /// When the first record that is not committed was seen.
    waiting_since: Option<Instant>,
    /// What waits is committed without waiting for its age.
    due_now: bool,
    /// Bytes of log at the last commit.
    bytes_before: u64,
    pace: Pace,
    pending: Option<Pending>,
}

/// Why waiting ended.
enum Wake {
    Commit,
    LookAgain,
    Stop,
}

/// How long to rest after trouble.
enum Rest {
    Not,
    For(Duration),
    UntilChange,
    /// Or until there are more records.
    UntilRecords,
}

impl Materializer {
    pub(crate) fn new(
        duties: Arc<Duties>,
        topic: TopicId,
        name: TopicName,
        link: Arc<Link>,
        requests: mpsc::Receiver<CommitRequest>,
        shutdown: Shutdown,
    ) -> Self {
        let settings = &duties.settings;
        Self {
            backoff: Backoff::new(settings.retry_first, settings.retry_max),
            topic_changes: duties.deps.topics.watch_topics(),
            schema_changes: duties.deps.registry.watch(),
            group: group(name.as_str()),
            duties,
            topic,
            name,
            link,
            requests,
            asked: Vec::new(),
            shutdown,
            begun: BTreeMap::new(),
            gaps: 0,
            waiting_since: None,
            due_now: true,
            bytes_before: 0,
            pace: Pace::default(),
            pending: None,
        }
    }

    /// Runs until it is asked to stop or the topic is gone.
    pub(crate) async fn run(mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.note_begun();
        loop {
            let trouble = match AssertUnwindSafe(self.live()).catch_unwind().await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(trouble)) => trouble,
                Err(panic) => Trouble::Failed(format!("the task panicked: {}", panic_text(&*panic))),
            };
            let Some(rest) = self.note(trouble) else { return Ok(()) };
            if !self.rest(rest).await {
                return Ok(());
            }
        }
    }

    /// Works until there is trouble; `Ok` when asked to stop.
    async fn live(&mut self) -> Result<(), Trouble> {
        let mut standing = self.look().await?;
        loop {
            match self.wait(&mut standing).await {
                Wake::Stop => return Ok(()),
                Wake::LookAgain => {
                    self.due_now = true;
                    standing = self.look().await?;
                }
                Wake::Commit => {
                    let asked = self.asked.len();
                    self.commit(&mut standing).await?;
                    let snapshot = standing.table.current_snapshot_id();
                    for request in self.asked.drain(..asked) {
                        // Whoever asked may have left.
                        let _ = request.send(Ok(snapshot));
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Standing, Trouble> {
        self.topic_changes.borrow_and_update();
        self.schema_changes.borrow_and_update();
        self.note_begun();
        let mut standing = Standing::look(&self.duties, self.topic).await?;
        standing.begun = self.begun.clone();
        {
            let mut view = self.link.view.lock();
            view.state = State::Running;
            view.message = None;
            view.differences = standing.rows.differences();
            let last = standing.table.snapshots().last().map(|snapshot| snapshot.timestamp_ms);
            view.last_commit_ms = last.or(view.last_commit_ms);
        }
        self.report(&standing);
        // What waited before this look is overdue; what comes after it waits for its age.
        self.due_now &= standing.pending() > 0;
        Ok(standing)
    }

    fn note_begun(&mut self) {
        let topics = &self.duties.deps.topics;
        let partitions = topics.topic_by_id(self.topic).map_or(0, |info| info.partitions);
        for index in 0..partitions {
            if let Some(partition) = topics.partition(self.name.as_str(), index) {
                self.begun.entry(index).or_insert_with(|| partition.marks().log_start);
            }
        }
    }

    /// Tells the log and status how far the table is.
    fn report(&self, standing: &Standing) {
        let next: Vec<_> = standing.partitions.iter().map(|p| (p.index(), standing.next(p))).collect();
        for (partition, next) in &next {
            self.duties.deps.topics.note_consumed(&self.group, self.name.as_str(), *partition, *next);
        }
        self.link.view.lock().next = next.into_iter().collect();
    }

    /// Waits until a commit is due or something has changed.
    async fn wait(&mut self, standing: &mut Standing) -> Wake {
        let lag = standing.rows.settings().target_lag;
        loop {
            for readable in &mut standing.readable {
                readable.borrow_and_update();
            }
            if !self.asked.is_empty() {
                return Wake::Commit;
            }
            let mut until = None;
            if standing.pending() > 0 {
                let now = Instant::now();
                let since = *self.waiting_since.get_or_insert(now);
                let bytes = standing.log_bytes().saturating_sub(self.bytes_before);
                let due = self.pace.due(Waiting { now, since, bytes, lag }, &self.duties.settings);
                if self.due_now || standing.has_no_columns_yet() || now >= due {
                    return Wake::Commit;
                }
                until = Some(due.min(now + self.duties.settings.size_check));
            }
            // While something waits, its size is looked at now and then, not at every append.
            tokio::select! {
                () = sleep_until(until), if until.is_some() => {}
                () = any_changed(&mut standing.readable), if until.is_none() => {}
                Some(request) = self.requests.recv() => self.asked.push(request),
                () = self.link.look_again.notified() => return Wake::LookAgain,
                Ok(()) = self.topic_changes.changed() => {
                    if !standing.holds(&self.duties) {
                        return Wake::LookAgain;
                    }
                }
                Ok(()) = self.schema_changes.changed() => {
                    if standing.has_newer_schema(&self.duties).await {
                        return Wake::LookAgain;
                    }
                }
                () = self.shutdown.requested() => return Wake::Stop,
            }
        }
    }

    /// Commits everything up to the stable marks of this moment.
    async fn commit(&mut self, standing: &mut Standing) -> Result<(), Trouble> {
        let duties = Arc::clone(&self.duties);
        let cut = self.cut(standing).await?;
        let cut_at = Instant::now();
        self.bytes_before = standing.log_bytes();
        loop {
            // A large backlog is many commits: each is a unit of its own.
            if self.shutdown.is_requested() {
                return Err(Trouble::Failed("the node is stopping".to_owned()));
            }
            let permit = duties.staging.acquire().await.map_err(|e| Trouble::failed(&e))?;
            let left = self.pending.take().filter(|pending| pending.fits(standing));
            let (ranges, mut staged) = match left {
                Some(Pending { ranges, staged, .. }) => (ranges, staged),
                None => {
                    let mut ranges = standing.ranges(&cut);
                    if ranges.is_empty() {
                        break;
                    }
                    let staged = stage(&duties, standing, &mut ranges).await?;
                    (ranges, staged)
                }
            };
            let unseen = std::mem::take(&mut staged.unseen);
            if !staged.reached.is_empty() {
                let began = Instant::now();
                if let Err(trouble) = self.commit_staged(standing, &ranges, &mut staged).await {
                    if matches!(trouble, Trouble::Unclear(_)) {
                        staged.unseen = unseen;
                        self.pending = Some(Pending::new(ranges, staged, standing));
                    }
                    return Err(trouble);
                }
                self.pace.committed(Instant::now(), began.elapsed());
            }
            drop(permit);
            self.gaps = 0;
            self.backoff.reset();
            if unseen.is_empty() {
                self.report(standing);
            } else {
                switches::note(&duties, &standing.info, &unseen, &standing.stands()).await?;
                *standing = self.look().await?;
            }
        }
        standing.table = duties.deps.tables.load(&standing.ident).await?;
        // What came since the cut has waited since then at most.
        self.waiting_since = (standing.pending() > 0).then_some(cut_at);
        self.due_now = false;
        Ok(())
    }

    /// A cut together with the schemas that hold below it.
    async fn cut(&mut self, standing: &mut Standing) -> Result<Cut, Trouble> {
        loop {
            {
                let _gate = self.duties.schema_gate.lock().await;
                let cut = self.duties.deps.topics.cut();
                if standing.holds(&self.duties) {
                    return Ok(cut);
                }
            }
            *standing = self.look().await?;
        }
    }

    /// The dead-letter table first, then the table itself.
    async fn commit_staged(
        &self,
        standing: &mut Standing,
        ranges: &[Range],
        staged: &mut Staged,
    ) -> Result<(), Trouble> {
        if let Some(files) = &staged.dead_files {
            let advances = self.advances(ranges, &staged.reached, Some(&standing.dead));
            // Without a range nobody could tell later whether these were committed.
            let fenced = !advances.is_empty();
            let (ident, files) = (standing.dead_ident.clone(), files.clone());
            let done = self.append(&ident, files, advances, BTreeMap::new(), &mut standing.dead).await;
            done.map_err(|trouble| if fenced { trouble } else { trouble.settled() })?;
            staged.dead_files = None;
        }
        let Staged { files, reached, accounting, .. } = &*staged;
        if accounting.lost_any() {
            let skipped: Vec<_> = ranges.iter().filter_map(Range::skipped).collect();
            tracing::error!(table = %self.name, ?skipped, "the log lost records before the table had them");
        }
        let advances = self.advances(ranges, reached, None);
        let summary = accounting.summary(self.duties.settings.ranges_listed_max);
        let ident = standing.ident.clone();
        self.append(&ident, files.clone(), advances, summary, &mut standing.positions).await?;
        let mut view = self.link.view.lock();
        view.state = State::Running;
        view.message = None;
        view.last_commit_ms = Some(self.duties.deps.clock.now_ms());
        Ok(())
    }

    /// Steps from where a table stands to what was reached; `covered` is where the dead-letter table stands, which may
    /// be ahead after a crash between the two commits, or behind because it has no reason to commit most of the time.
    fn advances(&self, ranges: &[Range], reached: &Reached, covered: Option<&Positions>) -> Vec<Advance> {
        let mut advances = Vec::new();
        for range in ranges {
            let Some((to, fates)) = reached.get(&range.partition).copied() else { continue };
            let recorded = covered.and_then(|covered| covered.get(&range.partition));
            let from = recorded.map_or(range.from, |position| position.next);
            if to.next > from {
                advances.push(Advance {
                    source: source(&self.duties, self.topic, range.partition),
                    from,
                    to,
                    fates,
                });
            }
        }
        advances
    }

    async fn append(
        &self,
        ident: &tables::TableIdent,
        files: StagedFiles,
        advances: Vec<Advance>,
        summary: BTreeMap<String, String>,
        positions: &mut Positions,
    ) -> Result<(), Trouble> {
        let steps: Vec<_> = advances.iter().map(|a| (a.source.partition, a.to)).collect();
        let rows = files.rows();
        let outcome = match self.duties.deps.tables.append(ident, files, advances, summary).await {
            Err(CommitError::Diverged { why, .. }) => {
                return Err(standing::diverged(self.name.as_str(), &ident.name, &why));
            }
            other => other?,
        };
        if let CommitOutcome::AlreadyDone { snapshot_id } = outcome {
            // Somebody has this range and may have more.
            return Err(Trouble::Overtaken(format!("snapshot {snapshot_id} of {} covers it", ident.name)));
        }
        positions.extend(steps);
        tracing::debug!(table = %ident.name, rows, ?outcome, "committed");
        Ok(())
    }

    /// Notes trouble for status and answers who waits; none when the task should end.
    fn note(&mut self, trouble: Trouble) -> Option<Rest> {
        self.due_now = true;
        let trouble = match trouble {
            Trouble::Gap(text) => {
                self.gaps += 1;
                let name = self.name.as_str();
                if self.gaps > 1 { standing::diverged(name, name, &text) } else { Trouble::Gap(text) }
            }
            other => other,
        };
        // Whoever asked is answered after the next attempt when there is one at once.
        if !matches!(trouble, Trouble::Overtaken(_) | Trouble::Gap(_)) {
            for request in self.asked.drain(..) {
                let _ = request.send(Err(trouble.answer(self.name.as_str())));
            }
        }
        let (state, text, rest) = match trouble {
            Trouble::Gone => return None,
            Trouble::Overtaken(text) | Trouble::Gap(text) => {
                tracing::info!(table = %self.name, reason = %text, "reading the table's progress again");
                return Some(Rest::Not);
            }
            Trouble::Waiting(text) => (State::Waiting, text, Rest::UntilRecords),
            Trouble::Stopped(state, text) => (state, text, Rest::UntilChange),
            Trouble::Failed(text) | Trouble::Unclear(text) => {
                (State::Failing, text, Rest::For(self.backoff.pause()))
            }
        };
        if state != State::Waiting {
            tracing::warn!(table = %self.name, state = state.as_str(), reason = %text, "not materializing");
        }
        self.hold_log();
        let mut view = self.link.view.lock();
        view.state = state;
        view.message = Some(text);
        Some(rest)
    }

    /// The log waits for a table that cannot go on, too.
    fn hold_log(&self) {
        let Some(info) = self.duties.deps.topics.topic_by_id(self.topic) else { return };
        let known = self.link.view.lock().next.clone();
        for index in 0..info.partitions {
            let Some(partition) = self.duties.deps.topics.partition(self.name.as_str(), index) else {
                continue;
            };
            let marks = partition.marks();
            let next = known.get(&index).or(self.begun.get(&index)).copied();
            let next = next.unwrap_or(marks.log_start).min(marks.stable);
            self.duties.deps.topics.note_consumed(&self.group, self.name.as_str(), index, next);
        }
    }

    fn marks(&self) -> Vec<watch::Receiver<Offset>> {
        let topics = &self.duties.deps.topics;
        let partitions = topics.topic_by_id(self.topic).map_or(0, |info| info.partitions);
        let marks = (0..partitions).filter_map(|index| topics.partition(self.name.as_str(), index));
        marks.map(|partition| partition.watch_durable()).collect()
    }

    /// False when asked to stop.
    async fn rest(&mut self, rest: Rest) -> bool {
        let until = match rest {
            Rest::Not => return !self.shutdown.is_requested(),
            Rest::For(pause) => Some(Instant::now() + pause),
            Rest::UntilChange | Rest::UntilRecords => None,
        };
        let mut marks = match rest {
            Rest::UntilRecords => self.marks(),
            _ => Vec::new(),
        };
        tokio::select! {
            () = sleep_until(until), if until.is_some() => true,
            () = self.link.look_again.notified() => true,
            () = any_changed(&mut marks) => {
                // Looking costs something: not at every record.
                tokio::time::sleep(self.duties.settings.size_check).await;
                true
            }
            Ok(()) = self.topic_changes.changed(), if until.is_none() => true,
            Ok(()) = self.schema_changes.changed(), if until.is_none() => true,
            // Somebody asks: an attempt is made at once and its outcome is the answer.
            Some(request) = self.requests.recv() => {
                self.asked.push(request);
                true
            }
            () = self.shutdown.requested() => false,
        }
    }
}

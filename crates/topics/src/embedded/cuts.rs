//! What a cut must not split.
//!
//! Owns: atomic appends and committed transactions over several partitions that are durable but not yet below the
//! stable marks of all their partitions, and the marks of a cut.
//! Does not own: stable marks themselves (each partition has its own).
//! Invariants: below a partition's cut mark lies all of an atomic append or committed transaction, or none, in all its
//! partitions; cut marks only grow and never pass the stable marks.
//!
//! A partition's stable mark stops at its oldest open transaction. What other partitions got together with records
//! behind that mark must then wait there too, or a reader of several partitions would see halves.

use std::collections::HashMap;
use std::sync::Arc;

use base::{Offset, PartitionId, TopicId};

use super::partition::PartitionState;

/// Parts of all spans together before neighbours are joined.
const PARTS_MAX: usize = 20_000;

/// A span as a checkpoint stores it: topic, partition, first offset, offset behind the last.
pub(crate) type SpanPoint = Vec<(TopicId, PartitionId, Offset, Offset)>;

/// What became visible as one.
#[derive(Debug, Default)]
pub(crate) struct Span(Vec<Part>);

#[derive(Debug)]
struct Part {
    partition: Arc<PartitionState>,
    first: Offset,
    /// Behind the last offset.
    end: Offset,
}

impl Span {
    pub(crate) fn add(&mut self, partition: &Arc<PartitionState>, first: Offset, last: Offset) {
        self.0.push(Part { partition: Arc::clone(partition), first, end: last + 1 });
    }

    fn point(&self) -> SpanPoint {
        self.0.iter().map(|p| (p.partition.topic, p.partition.index, p.first, p.end)).collect()
    }

    /// One span of both: whoever must not see half of either does not see half of this.
    fn join(mut self, other: Self) -> Self {
        for part in other.0 {
            match self.0.iter_mut().find(|p| Arc::ptr_eq(&p.partition, &part.partition)) {
                Some(known) => {
                    known.first = known.first.min(part.first);
                    known.end = known.end.max(part.end);
                }
                None => self.0.push(part),
            }
        }
        self
    }
}

/// Spans that some stable mark has not passed. Belongs to the lock under which marks move.
#[derive(Debug, Default)]
pub(crate) struct Held {
    spans: Vec<Span>,
}

impl Held {
    /// Notes what is durable now as one.
    pub(crate) fn note(&mut self, span: Span) {
        if span.0.len() > 1 {
            self.spans.push(span);
        }
    }

    /// Notes a span that a checkpoint has; partitions that are gone do not count.
    pub(crate) fn restore(
        &mut self,
        point: SpanPoint,
        find: impl Fn(TopicId, PartitionId) -> Option<Arc<PartitionState>>,
    ) {
        let part = |(topic, index, first, end)| Some(Part { partition: find(topic, index)?, first, end });
        self.note(Span(point.into_iter().filter_map(part).collect()));
    }

    pub(crate) fn points(&self) -> Vec<SpanPoint> {
        self.spans.iter().map(Span::point).collect()
    }

    /// Sets the cut marks of the partitions of `moved`, and of those that wait for them, after stable marks have
    /// moved. Gives the partitions that were only waiting: who watches them must be told.
    pub(crate) fn update(&mut self, moved: &[Arc<PartitionState>]) -> Vec<Arc<PartitionState>> {
        if self.spans.is_empty() {
            for partition in moved {
                partition.move_cut_mark(partition.stable());
            }
            return Vec::new();
        }
        let mut marks: HashMap<(TopicId, PartitionId), (Arc<PartitionState>, Offset)> = HashMap::new();
        let parts = self.spans.iter().flat_map(|span| &span.0).map(|part| &part.partition);
        for partition in moved.iter().chain(parts) {
            let at = (partition.topic, partition.index);
            // What is deleted holds nobody up.
            let stable = if partition.is_deleted() { Offset::MAX } else { partition.stable() };
            marks.entry(at).or_insert_with(|| (Arc::clone(partition), stable));
        }
        let mark_of = |marks: &HashMap<_, (_, Offset)>, part: &Part| {
            marks.get(&(part.partition.topic, part.partition.index)).map_or(Offset::MAX, |(_, mark)| *mark)
        };
        loop {
            let mut changed = false;
            for span in &self.spans {
                if span.0.iter().all(|part| mark_of(&marks, part) >= part.end) {
                    continue;
                }
                for part in &span.0 {
                    if let Some((_, mark)) = marks.get_mut(&(part.partition.topic, part.partition.index))
                        && *mark > part.first
                    {
                        *mark = part.first;
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        self.spans.retain(|span| span.0.iter().any(|part| mark_of(&marks, part) < part.end));
        self.limit();
        let grown = marks.into_values().filter(|(partition, mark)| partition.move_cut_mark(*mark));
        let waiting = |p: &Arc<PartitionState>| !moved.iter().any(|m| Arc::ptr_eq(m, p));
        grown.map(|(partition, _)| partition).filter(waiting).collect()
    }

    /// A transaction that stays open for an hour must not fill the memory: neighbours become one.
    fn limit(&mut self) {
        while self.spans.len() > 1 && self.spans.iter().map(|span| span.0.len()).sum::<usize>() > PARTS_MAX {
            let mut joined = Vec::with_capacity(self.spans.len() / 2 + 1);
            let mut spans = std::mem::take(&mut self.spans).into_iter();
            while let Some(one) = spans.next() {
                joined.push(match spans.next() {
                    Some(other) => one.join(other),
                    None => one,
                });
            }
            self.spans = joined;
        }
    }
}

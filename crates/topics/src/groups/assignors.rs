//! Server-side assignors of the consumer protocol (KIP-848): `uniform` and `range`.
//!
//! Owns: who shall have which partitions.
//! Does not own: when that comes true (`consumer/reconcile`).
//! Invariants: each partition that somebody subscribes to goes to exactly one of its subscribers; the result is a
//! function of the input, and `uniform` moves no partition that it can leave.

use std::collections::{BTreeMap, BTreeSet};

use base::TopicId;

/// Partitions by topic. No topic is without partitions.
pub(crate) type Assignment = BTreeMap<TopicId, BTreeSet<i32>>;

/// What an assignor is told of a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriber<'a> {
    /// `group.instance.id`: orders members before their ids do, so that a restart changes nothing.
    pub instance: Option<&'a str>,
    pub topics: BTreeSet<TopicId>,
    /// What the last assignment gave it.
    pub current: Option<&'a Assignment>,
}

/// Members by id.
pub(crate) type Subscribers<'a> = BTreeMap<&'a str, Subscriber<'a>>;

/// A way to assign partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    Uniform,
    Range,
}

impl Assignor {
    /// What is taken when members ask for none, or for different ones equally often.
    pub(crate) const DEFAULT: Self = Self::Uniform;

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Assigns all partitions of `topics` (ids with partition counts) that somebody subscribes to.
    pub(crate) fn assign<'a>(
        self,
        members: &Subscribers<'a>,
        topics: &BTreeMap<TopicId, i32>,
    ) -> BTreeMap<&'a str, Assignment> {
        match self {
            Self::Uniform => uniform(members, topics),
            Self::Range => range(members, topics),
        }
    }
}

/// Each subscriber of a topic gets a run of its partitions, the first ones one more where it does not come out even.
fn range<'a>(members: &Subscribers<'a>, topics: &BTreeMap<TopicId, i32>) -> BTreeMap<&'a str, Assignment> {
    let mut assigned: BTreeMap<&str, Assignment> =
        members.keys().map(|id| (*id, Assignment::new())).collect();
    let mut order: Vec<(&str, &Subscriber<'_>)> = members.iter().map(|(id, m)| (*id, m)).collect();
    // Static members first, by instance, as Kafka's RangeAssignor.
    order.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance, *id));
    for (topic, partitions) in topics {
        let subscribers: Vec<&str> =
            order.iter().filter(|(_, m)| m.topics.contains(topic)).map(|(id, _)| *id).collect();
        let count = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        if count == 0 {
            continue;
        }
        let (each, more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (number, id) in (0..).zip(subscribers) {
            let end = next + each + i32::from(number < more);
            if end > next
                && let Some(own) = assigned.get_mut(id)
            {
                own.insert(*topic, (next..end).collect());
            }
            next = end;
        }
    }
    assigned
}

/// Members keep what they have as far as that is fair; what is left goes to who has least, and where subscriptions
/// differ, partitions move until no single move would bring two members closer together.
fn uniform<'a>(members: &Subscribers<'a>, topics: &BTreeMap<TopicId, i32>) -> BTreeMap<&'a str, Assignment> {
    let mut work = Uniform::new(members, topics);
    work.keep_fair_share();
    work.hand_out();
    work.balance();
    work.assigned
}

struct Uniform<'a, 'b> {
    members: &'b Subscribers<'a>,
    assigned: BTreeMap<&'a str, Assignment>,
    /// Number of partitions with the members that have so many.
    loads: BTreeSet<(usize, &'a str)>,
    free: Vec<(TopicId, i32)>,
    same_topics: bool,
    total: usize,
}

impl<'a, 'b> Uniform<'a, 'b> {
    fn new(members: &'b Subscribers<'a>, topics: &BTreeMap<TopicId, i32>) -> Self {
        let wanted = |topic: &TopicId| members.values().any(|m| m.topics.contains(topic));
        let all = topics.iter().filter(|(topic, _)| wanted(topic));
        let free: Vec<(TopicId, i32)> =
            all.flat_map(|(topic, count)| (0..*count).map(move |p| (*topic, p))).collect();
        let mut subscriptions = members.values().map(|m| &m.topics);
        let first = subscriptions.next();
        Self {
            members,
            assigned: members.keys().map(|id| (*id, Assignment::new())).collect(),
            loads: members.keys().map(|id| (0, *id)).collect(),
            same_topics: subscriptions.all(|topics| Some(topics) == first),
            total: free.len(),
            free,
        }
    }

    fn load(&self, id: &str) -> usize {
        self.assigned.get(id).map_or(0, |own| own.values().map(BTreeSet::len).sum())
    }

    fn give(&mut self, id: &'a str, (topic, partition): (TopicId, i32)) {
        let load = self.load(id);
        self.loads.remove(&(load, id));
        self.loads.insert((load + 1, id));
        self.assigned.entry(id).or_default().entry(topic).or_default().insert(partition);
    }

    fn take(&mut self, id: &'a str, (topic, partition): (TopicId, i32)) {
        let load = self.load(id);
        self.loads.remove(&(load, id));
        self.loads.insert((load.saturating_sub(1), id));
        if let Some(own) = self.assigned.get_mut(id)
            && let Some(partitions) = own.get_mut(&topic)
        {
            partitions.remove(&partition);
            if partitions.is_empty() {
                own.remove(&topic);
            }
        }
    }

    /// With equal subscriptions nobody keeps more than its share; with different ones, balancing takes it away later.
    fn keep_fair_share(&mut self) {
        let count = self.members.len().max(1);
        let (each, mut more) = (self.total / count, self.total % count);
        let mut free: BTreeSet<(TopicId, i32)> = self.free.drain(..).collect();
        let mut order: Vec<&'a str> = self.members.keys().copied().collect();
        // Who has most is first to keep one more than the others.
        order.sort_by_key(|id| {
            let current = self.members.get(id).and_then(|m| m.current);
            std::cmp::Reverse(current.map_or(0, |own| own.values().map(BTreeSet::len).sum()))
        });
        for id in order {
            let Some(member) = self.members.get(id) else { continue };
            let current = member.current.into_iter().flatten();
            let current = current.flat_map(|(topic, partitions)| partitions.iter().map(|p| (*topic, *p)));
            let mut own: Vec<(TopicId, i32)> =
                current.filter(|at| member.topics.contains(&at.0) && free.contains(at)).collect();
            if self.same_topics {
                let one_more = usize::from(own.len() > each && more > 0);
                more -= one_more;
                own.truncate(each + one_more);
            }
            for at in own {
                free.remove(&at);
                self.give(id, at);
            }
        }
        self.free = free.into_iter().collect();
    }

    fn hand_out(&mut self) {
        for at in std::mem::take(&mut self.free) {
            let least = self.loads.iter().find(|(_, id)| self.subscribes(id, at.0)).map(|(_, id)| *id);
            if let Some(id) = least {
                self.give(id, at);
            }
        }
    }

    fn subscribes(&self, id: &str, topic: TopicId) -> bool {
        self.members.get(id).is_some_and(|m| m.topics.contains(&topic))
    }

    /// Each move makes the sum of squared loads smaller, so this ends.
    fn balance(&mut self) {
        if self.same_topics {
            return;
        }
        while let Some((from, to, at)) = self.next_move() {
            self.take(from, at);
            self.give(to, at);
        }
    }

    fn next_move(&self) -> Option<(&'a str, &'a str, (TopicId, i32))> {
        for (load, from) in self.loads.iter().rev() {
            for (topic, partitions) in self.assigned.get(from)? {
                let least = self.loads.iter().find(|(_, id)| self.subscribes(id, *topic));
                if let Some((less, to)) = least
                    && less + 1 < *load
                {
                    return Some((*from, *to, (*topic, *partitions.last()?)));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(n: u128) -> TopicId {
        TopicId(uuid::Uuid::from_u128(n))
    }

    fn member<'a>(topics: &[u128], current: Option<&'a Assignment>) -> Subscriber<'a> {
        Subscriber { instance: None, topics: topics.iter().map(|n| topic(*n)).collect(), current }
    }

    fn load(assignment: &Assignment) -> usize {
        assignment.values().map(BTreeSet::len).sum()
    }

    /// Each partition of a subscribed topic is with exactly one subscriber.
    fn check(
        members: &Subscribers<'_>,
        topics: &BTreeMap<TopicId, i32>,
        assigned: &BTreeMap<&str, Assignment>,
    ) {
        let mut seen = BTreeSet::new();
        for (id, own) in assigned {
            for (topic, partitions) in own {
                assert!(members[id].topics.contains(topic) && !partitions.is_empty());
                for partition in partitions {
                    assert!((0..topics[topic]).contains(partition));
                    assert!(seen.insert((*topic, *partition)), "{topic} {partition} is given twice");
                }
            }
        }
        let wanted = topics.iter().filter(|(t, _)| members.values().any(|m| m.topics.contains(t)));
        assert_eq!(seen.len(), wanted.map(|(_, count)| *count as usize).sum::<usize>());
    }

    #[test]
    fn range_gives_runs() {
        let topics = [(topic(1), 7), (topic(2), 2), (topic(3), 5)].into();
        let members: Subscribers<'_> =
            [("a", member(&[1, 2], None)), ("b", member(&[1], None)), ("c", member(&[1, 2], None))].into();
        let assigned = Assignor::Range.assign(&members, &topics);
        check(&members, &topics, &assigned);
        assert_eq!(assigned["a"][&topic(1)], [0, 1, 2].into());
        assert_eq!(assigned["b"][&topic(1)], [3, 4].into());
        assert_eq!(assigned["c"][&topic(1)], [5, 6].into());
        assert_eq!(assigned["c"][&topic(2)], [1].into());
        let mut members = members;
        members.insert("z", Subscriber { instance: Some("first"), ..member(&[1], None) });
        let assigned = Assignor::Range.assign(&members, &topics);
        assert_eq!(assigned["z"][&topic(1)], [0, 1].into());
    }

    #[test]
    fn uniform_is_even_and_moves_little() {
        let topics: BTreeMap<TopicId, i32> = [(topic(1), 5), (topic(2), 6)].into();
        let ids = ["a", "b", "c", "d"];
        let mut before: BTreeMap<String, Assignment> = BTreeMap::new();
        for count in [1, 2, 3, 4, 3, 2, 4, 1] {
            let last = before.clone();
            let members: Subscribers<'_> =
                ids.iter().take(count).map(|id| (*id, member(&[1, 2], last.get(*id)))).collect();
            let assigned = Assignor::Uniform.assign(&members, &topics);
            check(&members, &topics, &assigned);
            let loads: Vec<usize> = assigned.values().map(load).collect();
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
            // Nobody loses anything while it has no more than its share.
            let share = 11usize.div_ceil(count);
            for (id, own) in &last {
                let Some(now) = assigned.get(id.as_str()) else { continue };
                let kept: usize =
                    own.iter().map(|(t, ps)| now.get(t).map_or(0, |n| ps.intersection(n).count())).sum();
                assert!(kept >= load(own).min(share - 1), "{id} kept {kept} of {}", load(own));
            }
            before = assigned.into_iter().map(|(id, own)| (id.to_owned(), own)).collect();
        }
        let members: Subscribers<'_> =
            before.iter().map(|(id, own)| (id.as_str(), member(&[1, 2], Some(own)))).collect();
        for (id, own) in Assignor::Uniform.assign(&members, &topics) {
            assert_eq!(own, before[id]);
        }
    }

    #[test]
    fn uniform_balances_different_subscriptions() {
        let topics = [(topic(1), 4), (topic(2), 4), (topic(3), 1)].into();
        let all: Assignment = [(topic(1), (0..4).collect()), (topic(2), (0..4).collect())].into();
        let members: Subscribers<'_> = [
            ("a", member(&[1, 2], Some(&all))),
            ("b", member(&[1], None)),
            ("c", member(&[2, 3], None)),
            ("d", member(&[], None)),
        ]
        .into();
        let assigned = Assignor::Uniform.assign(&members, &topics);
        check(&members, &topics, &assigned);
        assert_eq!(
            ["a", "b", "c", "d"].map(|id| load(&assigned[id])),
            [3, 4, 2, 0],
            "no single move would help"
        );
        assert!(Assignor::Uniform.assign(&Subscribers::new(), &topics).is_empty());
    }
}

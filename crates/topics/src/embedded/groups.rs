//! The group coordinator: drives the machines of [`crate::groups`] over the log.
//!
//! Owns: the groups by name under one lock, their records in `__consumer_offsets`, timers, requests that wait; its
//! children own the requests: `members` (join, sync, heartbeat, leave), `consumers` (KIP-848), `commits` (storing and fetching offsets),
//! `removal` (deletion and expiry), `loading` (the start).
//! Does not own: Kafka's rules (the machines), when a transaction ends.
//! Invariants: records enter the log in the order in which the state changes, because both happen under the lock; what
//! rests on a record is answered only once the record is durable; nobody waits with the lock held. One lock for all
//! groups is enough: a step takes microseconds, and only memory and the log's queue are touched under it.
//! Order of locks: the groups → the log's own (see `shared`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use base::{Offset, Supervisor, TaskKind};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared as SharedFuture};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::append::{self, Sender};
use super::shared::Shared;
use super::{Running, Topics};
use crate::batch::BatchBuilder;
use crate::batch::check::Origin;
use crate::error::AppendError;
use crate::groups::classic::ClassicGroup;
use crate::groups::offsets::GroupOffsets;
use crate::groups::records::Key;
use crate::groups::*;
use crate::log::Terms;
use crate::topic::CONSUMER_OFFSETS;
use crate::transactions::TransactionalProducer;
use machine::Machine;

mod commits;
mod consumers;
mod loading;
mod machine;
mod members;
mod removal;

pub(crate) use loading::{load, transaction_ended};
pub(crate) use removal::topic_deleted;

/// The one partition of the offsets topic.
const PARTITION: i32 = 0;

/// The group coordinator's face. Clones share it.
#[derive(Debug, Clone)]
pub struct Groups {
    topics: Topics,
}

/// Resolves once a record is durable.
type Gate = SharedFuture<BoxFuture<'static, Result<(), GroupError>>>;
/// An outcome, and what must be durable before it is told.
type Answer<T> = (T, Option<Gate>);

/// A record: key and value; no value is a tombstone.
type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// A request that waits for its group.
#[derive(Debug)]
enum Waiter {
    Join(oneshot::Sender<Answer<Result<Joined, JoinRefused>>>),
    Sync(oneshot::Sender<Answer<Result<Synced, GroupError>>>),
}

#[derive(Debug)]
struct Group {
    machine: Machine,
    offsets: GroupOffsets,
    /// The log has a record of the group itself.
    in_log: bool,
    /// The newest record of the group itself.
    gate: Option<Gate>,
    /// Where it stands in the schedule.
    scheduled: Option<i64>,
}

impl Group {
    fn new(machine: Machine) -> Self {
        Self { machine, offsets: GroupOffsets::default(), in_log: false, gate: None, scheduled: None }
    }

    /// Nothing would be lost with it.
    fn is_void(&self) -> bool {
        self.machine.is_deserted() && self.offsets.is_empty() && !self.in_log
    }
}

type Name = Arc<str>;

/// All groups.
#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<Name, Group>,
    /// Groups by when they must be looked at, on the steady clock.
    schedule: BTreeSet<(i64, Name)>,
    waiting: HashMap<Ticket, Waiter>,
    tickets: Ticket,
    /// Groups in which the open transaction of a producer stores offsets.
    transactions: HashMap<i64, HashSet<Name>>,
}

/// What the log has of the coordinator.
#[derive(Debug)]
pub(crate) struct GroupCoordinator {
    state: Mutex<State>,
    /// Told when something is scheduled before everything else.
    rouse: Arc<Notify>,
    started: Instant,
}

impl GroupCoordinator {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), rouse: Arc::default(), started: Instant::now() }
    }
}

fn unavailable(error: &dyn std::error::Error) -> GroupError {
    GroupError::CoordinatorNotAvailable(base::fault::chain(error))
}

fn unstorable(error: &AppendError) -> GroupError {
    match error {
        AppendError::TooLarge { .. } => GroupError::Unstorable(error.to_string()),
        other => unavailable(other),
    }
}

impl Shared {
    fn group_now(&self) -> Now {
        let steady = i64::try_from(self.groups.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { steady, wall: self.clock.now_ms() }
    }

    /// Below it, the records of groups are durable.
    fn groups_durable(&self) -> Offset {
        self.topic_and_partition(CONSUMER_OFFSETS, PARTITION).map_or(0, |(_, partition)| partition.durable())
    }

    /// Appends records as one batch: the offset of the first, and when they are durable.
    pub(crate) fn append_group_records(
        &self,
        records: &[KeyValue],
        now: Now,
    ) -> Result<(Offset, Gate), AppendError> {
        self.append_group_batch(BatchBuilder::new(), None, records, now)
    }

    /// The same as part of a producer's transaction, which must be open and know of it.
    fn append_transactional(
        &self,
        producer: TransactionalProducer<'_>,
        records: &[KeyValue],
        now: Now,
    ) -> Result<(Offset, Gate), AppendError> {
        let (id, epoch) = (producer.producer_id, producer.producer_epoch);
        let builder = BatchBuilder::new().producer(id, epoch, -1).transactional();
        self.append_group_batch(builder, Some(producer.transactional_id), records, now)
    }

    fn append_group_batch(
        &self,
        mut builder: BatchBuilder,
        transactional_id: Option<&str>,
        records: &[KeyValue],
        now: Now,
    ) -> Result<(Offset, Gate), AppendError> {
        for (key, value) in records {
            builder.push(now.wall, Some(key), value.as_deref(), &[]);
        }
        let batch: Bytes = builder.build()?;
        let sender = Sender { origin: Origin::Coordinator, transactional_id };
        let (appended, pending) =
            append::append_placed(self, CONSUMER_OFFSETS, PARTITION, &batch, sender, Terms::default())?;
        let gate = pending.map(|outcome| outcome.map(drop).map_err(|e| unavailable(&e)));
        Ok((appended.base_offset, gate.boxed().shared()))
    }
}

impl State {
    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        self.waiting.insert(self.tickets, waiter);
        self.tickets
    }

    /// Does what a step wants done: stores, answers, schedules.
    fn settle(&mut self, shared: &Shared, name: &str, step: Step<'_>) {
        let Some((name, group)) = self.groups.get_key_value(name).map(|(n, _)| n.clone()).and_then(|name| {
            let group = self.groups.get_mut(&name)?;
            Some((name, group))
        }) else {
            return;
        };
        let now = step.now;
        let mut effects = VecDeque::from(step.effects);
        let mut answers = Vec::new();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Store => {
                    let outcome = store(shared, &name, group, now);
                    let mut after = Step::new(now, &shared.settings.groups);
                    if let Some(classic) = group.machine.classic() {
                        classic.stored(&mut after, outcome);
                    }
                    effects.extend(after.effects);
                }
                other => answers.push(other),
            }
        }
        for answer in answers {
            self.waiting.tell(answer, group.gate.as_ref());
        }
        self.tidy(shared, &name);
    }

    /// Forgets a group that nobody would miss, and has any other looked at in time.
    fn tidy(&mut self, shared: &Shared, name: &str) {
        let Some((name, group)) = self.groups.get_key_value(name) else { return };
        let name = Arc::clone(name);
        if group.is_void() {
            self.forget(&name);
        } else {
            self.reschedule(shared, &name);
        }
    }

    fn reschedule(&mut self, shared: &Shared, name: &Name) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(wake) = group.machine.wake() else { return };
        if group.scheduled.is_some_and(|at| at <= wake) {
            return;
        }
        if let Some(at) = group.scheduled.replace(wake) {
            self.schedule.remove(&(at, Arc::clone(name)));
        }
        self.schedule.insert((wake, Arc::clone(name)));
        if self.schedule.first().is_some_and(|(first, _)| *first >= wake) {
            shared.groups.rouse.notify_one();
        }
    }

    /// Drops a group that nobody can miss, or whose end is in the log.
    fn forget(&mut self, name: &str) {
        let Some(group) = self.groups.remove(name) else { return };
        if let Some(at) = group.scheduled {
            self.schedule.remove(&(at, Arc::from(name)));
        }
        for producer in group.offsets.producers() {
            if let Some(groups) = self.transactions.get_mut(&producer) {
                groups.remove(name);
            }
        }
        self.transactions.retain(|_, groups| !groups.is_empty());
    }

    /// The group of that name; made, as far as there is room, when `create` says so.
    fn get_or_create(&mut self, shared: &Shared, name: &str, create: bool) -> Result<&mut Group, GroupError> {
        if !self.groups.contains_key(name) {
            if !create {
                return Err(GroupError::GroupIdNotFound(name.to_owned()));
            }
            let max = shared.settings.groups.groups_max;
            if self.groups.len() >= max {
                return Err(GroupError::GroupMaxSizeReached(format!("there are {max} groups already")));
            }
            let group = Group::new(Machine::Classic(ClassicGroup::new(shared.group_now())));
            self.groups.insert(name.into(), group);
        }
        self.groups.get_mut(name).ok_or_else(|| GroupError::GroupIdNotFound(name.to_owned()))
    }

    /// Lets every group act whose time has come.
    fn fire_due(&mut self, shared: &Shared) {
        let now = shared.group_now();
        while let Some((at, name)) = self.schedule.first().cloned() {
            if at > now.steady {
                return;
            }
            self.schedule.pop_first();
            let Some(group) = self.groups.get_mut(&name) else { continue };
            group.scheduled = None;
            if let Some(classic) = group.machine.classic() {
                let mut step = Step::new(now, &shared.settings.groups);
                classic.fire(&mut step);
                self.settle(shared, &name, step);
            } else {
                self.fire_consumer(shared, &name, now);
            }
        }
    }
}

trait Tell {
    fn tell(&mut self, answer: Effect, gate: Option<&Gate>);
}

impl Tell for HashMap<Ticket, Waiter> {
    /// Answers a request; who does not wait any more does not mind.
    fn tell(&mut self, answer: Effect, gate: Option<&Gate>) {
        match answer {
            Effect::Join(ticket, outcome) => {
                if let Some(Waiter::Join(waiter)) = self.remove(&ticket) {
                    let _ = waiter.send((outcome, gate.cloned()));
                }
            }
            Effect::Sync(ticket, outcome) => {
                if let Some(Waiter::Sync(waiter)) = self.remove(&ticket) {
                    let _ = waiter.send((outcome, gate.cloned()));
                }
            }
            Effect::Store => {}
        }
    }
}

/// Puts the group's record into the log.
fn store(shared: &Shared, name: &str, group: &mut Group, now: Now) -> Result<(), GroupError> {
    let key = Key::Group { group: name.to_owned() }.encode();
    let Some(value) = group.machine.classic().map(|classic| classic.value().encode()) else { return Ok(()) };
    let record = (key, Some(value));
    match shared.append_group_records(&[record], now) {
        Ok((_, gate)) => {
            group.in_log = true;
            group.gate = Some(gate);
            Ok(())
        }
        Err(error) => {
            tracing::warn!(group = name, %error, "a group cannot be stored");
            Err(unstorable(&error))
        }
    }
}

impl Topics {
    /// The group coordinator: consumer groups and the offsets they store.
    pub fn groups(&self) -> Groups {
        Groups { topics: self.clone() }
    }
}

impl Groups {
    fn shared(&self) -> &Arc<Shared> {
        self.topics.shared()
    }

    fn settings(&self) -> &crate::settings::GroupSettings {
        &self.shared().settings.groups
    }

    /// Makes sure that the offsets topic is there.
    async fn ready(&self) -> Result<(), GroupError> {
        if self.shared().topic(CONSUMER_OFFSETS).is_some() {
            return Ok(());
        }
        let shared = Arc::clone(self.shared());
        let made =
            tokio::task::spawn_blocking(move || super::admin::ensure_internal(&shared, CONSUMER_OFFSETS, 1))
                .await;
        match made {
            Ok(made) => made.map(drop).map_err(|e| unavailable(&e)),
            Err(e) => Err(unavailable(&e)),
        }
    }

    /// All groups by name, with a line for each.
    pub fn list(&self) -> Vec<GroupListing> {
        let state = self.shared().groups.state.lock();
        state.groups.iter().map(|(name, group)| group.machine.listing(name)).collect()
    }

    /// A classic group, as it is now.
    pub fn describe(&self, name: &str) -> Option<GroupDescription> {
        match &self.shared().groups.state.lock().groups.get(name)?.machine {
            Machine::Classic(group) => Some(group.describe()),
            Machine::Consumer(_) => None,
        }
    }
}

/// How long the keeper of time sleeps at most, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Starts what lets groups act when their time has come. Holds no [`Topics`], so that dropping them still ends the log.
pub(crate) fn keep_time(supervisor: &Supervisor, running: &Arc<Running>) {
    let weak: Weak<Running> = Arc::downgrade(running);
    let rouse = Arc::clone(&running.shared.groups.rouse);
    let mut ended = running.ended.subscribe();
    supervisor.spawn(TaskKind::LogUpkeep, "time of groups", |shutdown| async move {
        let mut upkeep = Instant::now();
        loop {
            let sleep = {
                let Some(running) = weak.upgrade() else { return Ok(()) };
                look_after(&running.shared, &mut upkeep)
            };
            tokio::select! {
                () = tokio::time::sleep(sleep.min(SLEEP_MAX)) => {}
                () = rouse.notified() => {}
                () = shutdown.requested() => return Ok(()),
                _ = ended.wait_for(|ended| *ended) => return Ok(()),
            }
        }
    });
}

/// Does what is due; tells how long nothing will be.
fn look_after(shared: &Shared, upkeep: &mut Instant) -> Duration {
    let mut state = shared.groups.state.lock();
    state.fire_due(shared);
    if *upkeep <= Instant::now() {
        state.expire_offsets(shared);
        *upkeep = Instant::now() + shared.settings.groups.offsets_check_interval;
    }
    let now = shared.group_now().steady;
    let next = state.schedule.first().map_or(u64::MAX, |(at, _)| u64::try_from(at - now).unwrap_or(0));
    // A timer that fires a moment early would find nothing due.
    Duration::from_millis(next.saturating_add(1)).min(upkeep.saturating_duration_since(Instant::now()))
}

//! The machine against Kafka's rules, event by event.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::groups::{Effect, JoinRefused, Joined, Leaving, Step, SyncGroup, Synced};
use crate::settings::GroupSettings;

const SESSION: i64 = 10_000;
const REBALANCE: i64 = 60_000;
const DELAY: i64 = 100;

/// One group, and everything it has answered.
struct Bench {
    group: ClassicGroup,
    settings: GroupSettings,
    now: i64,
    tickets: Ticket,
    joined: BTreeMap<Ticket, Result<Joined, JoinRefused>>,
    synced: BTreeMap<Ticket, Result<Synced, GroupError>>,
    stored: Vec<GroupValue>,
    /// Outcomes of the next stores; then they succeed.
    failures: VecDeque<GroupError>,
}

fn join_request(member: &str) -> JoinGroup {
    JoinGroup {
        group: "g".into(),
        member: member.into(),
        client: Client { id: "c".into(), host: "/h".into() },
        session_timeout_ms: SESSION as i32,
        rebalance_timeout_ms: REBALANCE as i32,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"meta"))],
        ..JoinGroup::default()
    }
}

fn static_join(instance: &str, member: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.into()), ..join_request(member) }
}

fn with_protocols(request: JoinGroup, names: &[&str]) -> JoinGroup {
    let protocols = names.iter().map(|n| ((*n).to_owned(), Bytes::from((*n).to_owned()))).collect();
    JoinGroup { protocols, ..request }
}

impl Bench {
    fn new() -> Self {
        let settings = GroupSettings {
            initial_rebalance_delay: Duration::from_millis(DELAY as u64),
            ..GroupSettings::default()
        };
        Self {
            group: ClassicGroup::new(Now { steady: 0, wall: 0 }),
            settings,
            now: 0,
            tickets: 0,
            joined: BTreeMap::new(),
            synced: BTreeMap::new(),
            stored: Vec::new(),
            failures: VecDeque::new(),
        }
    }

    fn step<T>(&mut self, event: impl FnOnce(&mut ClassicGroup, &mut Step<'_>) -> T) -> T {
        let settings = self.settings.clone();
        let now = Now { steady: self.now, wall: self.now };
        let mut step = Step::new(now, &settings);
        let out = event(&mut self.group, &mut step);
        let mut effects = VecDeque::from(step.effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Join(ticket, outcome) => {
                    assert!(self.joined.insert(ticket, outcome).is_none(), "ticket {ticket} answered twice");
                }
                Effect::Sync(ticket, outcome) => {
                    assert!(self.synced.insert(ticket, outcome).is_none(), "ticket {ticket} answered twice");
                }
                Effect::Store => {
                    let failure = self.failures.pop_front();
                    if failure.is_none() {
                        self.stored.push(self.group.value());
                    }
                    let mut after = Step::new(now, &settings);
                    self.group.stored(&mut after, failure.map_or(Ok(()), Err));
                    effects.extend(after.effects);
                }
            }
        }
        self.check();
        out
    }

    /// What holds whenever nothing happens.
    fn check(&self) {
        let group = &self.group;
        if let Some(leader) = &group.leader {
            assert!(group.members.contains_key(leader), "the leader is a member");
        }
        for (instance, id) in &group.static_members {
            assert_eq!(group.members[id].instance.as_deref(), Some(instance.as_str()));
        }
        let deadlines = group.members.values().filter_map(|m| m.deadline);
        let timers = group.join_timer.map(|t| t.at()).into_iter().chain(group.sync_deadline);
        if let Some(first) = deadlines.chain(group.pending_join.values().copied()).chain(timers).min() {
            assert!(group.wake.is_some_and(|wake| wake <= first), "{:?} after {first}", group.wake);
        }
        for member in group.members.values() {
            let waits = member.awaiting_join.or(member.awaiting_sync);
            assert!(
                waits.is_none_or(|t| !self.joined.contains_key(&t) && !self.synced.contains_key(&t)),
                "{} waits for what was answered",
                member.id
            );
        }
    }

    fn join(&mut self, request: JoinGroup) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        self.step(|group, step| group.join(step, &request, ticket));
        ticket
    }

    fn sync(&mut self, request: SyncGroup) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        self.step(|group, step| group.sync(step, &request, ticket));
        ticket
    }

    fn sync_as(&mut self, member: &str, assignments: &[(&str, &'static str)]) -> Ticket {
        let assignments = assignments.iter().map(|(m, a)| ((*m).to_owned(), Bytes::from(*a))).collect();
        let generation = self.group.generation;
        self.sync(SyncGroup { member: member.into(), generation, assignments, ..SyncGroup::default() })
    }

    fn heartbeat(&mut self, member: &str) -> Result<(), GroupError> {
        let who = Identity { member: member.into(), instance: None, generation: self.group.generation };
        self.step(|group, step| group.heartbeat(step, &who))
    }

    fn leave(&mut self, member: &str) -> Result<(), GroupError> {
        let leaving = Leaving { member: member.into(), instance: None };
        self.step(|group, step| group.leave(step, &[leaving])).remove(0)
    }

    /// Lets time pass, looking at the group whenever it wants that.
    fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(wake) = self.group.wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.step(|group, step| group.fire(step));
            assert!(self.group.wake().is_none_or(|next| next > self.now), "time stands still");
        }
        self.now = end;
    }

    fn answer(&self, ticket: Ticket) -> &Joined {
        self.joined[&ticket].as_ref().expect("joined")
    }

    fn refusal(&self, ticket: Ticket) -> &GroupError {
        &self.joined[&ticket].as_ref().expect_err("refused").error
    }

    fn assignment(&self, ticket: Ticket) -> &[u8] {
        &self.synced[&ticket].as_ref().expect("synced").assignment
    }

    /// Joins as many new members at once and makes the group stable; gives their ids, the leader first.
    fn stable(&mut self, count: usize) -> Vec<String> {
        let tickets: Vec<Ticket> = (0..count).map(|_| self.join(join_request(""))).collect();
        self.pass(2 * DELAY);
        let leader = self.answer(tickets[0]).leader.clone();
        let mut ids: Vec<String> = tickets.iter().map(|t| self.answer(*t).member.clone()).collect();
        ids.sort_by_key(|id| *id != leader);
        for id in ids.iter().skip(1) {
            self.sync_as(id, &[]);
        }
        self.sync_as(&leader, &[]);
        assert_eq!(self.group.state(), State::Stable);
        ids
    }
}

#[test]
fn the_first_members_make_a_generation_and_the_leader_assigns() {
    let mut bench = Bench::new();
    let first = bench.join(join_request(""));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    bench.pass(DELAY - 10);
    let second = bench.join(join_request(""));
    assert!(bench.joined.is_empty(), "the initial delay");
    // Somebody came within the delay: it begins again.
    bench.pass(20);
    assert!(bench.joined.is_empty());
    bench.pass(DELAY);
    assert_eq!(bench.group.state(), State::CompletingRebalance);
    let (leader, follower) = (bench.answer(first).clone(), bench.answer(second).clone());
    assert_eq!((leader.generation, follower.generation), (1, 1));
    assert_eq!(leader.leader, leader.member);
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!(leader.protocol.as_deref(), Some("range"));
    assert_eq!(bench.heartbeat(&follower.member), Ok(()));

    let waits = bench.sync_as(&follower.member, &[]);
    assert!(bench.synced.is_empty() && bench.stored.is_empty());
    let done =
        bench.sync_as(&leader.member, &[(&leader.member, "a"), (&follower.member, "b"), ("other", "c")]);
    assert_eq!((bench.assignment(waits), bench.assignment(done)), (&b"b"[..], &b"a"[..]));
    assert_eq!(bench.stored.len(), 1);
    assert_eq!(bench.stored[0].generation, 1);
    // A second SyncGroup gives the same.
    let again = bench.sync_as(&follower.member, &[]);
    assert_eq!(bench.assignment(again), b"b");
}

#[test]
fn an_id_is_given_out_before_the_first_join() {
    let mut bench = Bench::new();
    let first = |member: &str| JoinGroup { id_first: true, ..join_request(member) };
    let ticket = bench.join(first(""));
    let refused = bench.joined[&ticket].clone().expect_err("an id first");
    assert_eq!(refused.error, GroupError::MemberIdRequired);
    assert!(refused.member.starts_with("c-"));
    assert!(!bench.group.is_deserted());
    let ticket = bench.join(first(&refused.member));
    bench.pass(DELAY);
    assert_eq!(bench.answer(ticket).member, refused.member);
    // Nobody else may come with an id of their own.
    let ticket = bench.join(first("invented"));
    assert_eq!(bench.refusal(ticket), &GroupError::UnknownMemberId);
    // An id that is not used is forgotten.
    let ticket = bench.join(first(""));
    let unused = bench.joined[&ticket].clone().expect_err("an id first").member;
    bench.heartbeat(&refused.member).expect("alive");
    bench.pass(SESSION - 1);
    assert!(bench.group.pending_join.contains_key(&unused));
    bench.pass(1);
    assert!(!bench.group.pending_join.contains_key(&unused));
}

#[test]
fn a_rebalance_waits_for_who_was_told_to_join() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let ticket = bench.join(JoinGroup { id_first: true, ..join_request("") });
    let pending = bench.joined[&ticket].clone().expect_err("an id first").member;
    let old = bench.join(join_request(&ids[0]));
    assert!(
        !bench.joined.contains_key(&old),
        "a leader that joins again rebalances, and the other is awaited"
    );
    let new = bench.join(JoinGroup { id_first: true, ..join_request(&pending) });
    assert_eq!((bench.answer(old).generation, bench.answer(new).generation), (2, 2));
    assert_eq!(bench.answer(old).members.len(), 2);
}

#[test]
fn joining_again() {
    let cases: [(&str, bool, bool, Option<Result<i32, GroupError>>); 4] = [
        // who, with other metadata, outcome: at once with a generation, or waits
        ("leader", false, true, None),
        ("leader", true, true, None),
        ("follower", false, false, Some(Ok(1))),
        ("follower", true, true, None),
    ];
    for (who, changed, rebalances, outcome) in cases {
        let mut bench = Bench::new();
        let ids = bench.stable(2);
        let id = if who == "leader" { &ids[0] } else { &ids[1] };
        let mut request = join_request(id);
        if changed {
            request.protocols[0].1 = Bytes::from_static(b"other");
        }
        let ticket = bench.join(request);
        let at = format!("{who} changed={changed}");
        assert_eq!(bench.group.state() == State::PreparingRebalance, rebalances, "{at}");
        let got = bench.joined.get(&ticket).map(|o| o.clone().map(|j| j.generation).map_err(|r| r.error));
        assert_eq!(got, outcome, "{at}");
    }
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut bench = Bench::new();
    let ids = bench.stable(3);
    let ticket = bench.join(join_request(&ids[0]));
    assert_eq!(bench.heartbeat(&ids[1]), Err(GroupError::RebalanceInProgress));
    let second = bench.join(join_request(&ids[1]));
    for _ in 0..REBALANCE / 5_000 - 1 {
        bench.pass(5_000);
        assert_eq!(bench.heartbeat(&ids[2]), Err(GroupError::RebalanceInProgress));
        assert!(!bench.joined.contains_key(&ticket));
    }
    bench.pass(5_000);
    assert_eq!(bench.answer(ticket).generation, 2);
    assert_eq!(bench.answer(ticket).members.len(), 2);
    assert_eq!(bench.answer(second).leader, ids[0]);
    assert_eq!(bench.heartbeat(&ids[2]), Err(GroupError::UnknownMemberId));
}

#[test]
fn a_leader_that_does_not_come_back_is_replaced() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    bench.join(with_protocols(join_request(&ids[1]), &["range", "x"]));
    for _ in 0..REBALANCE / 5_000 {
        assert_eq!(bench.heartbeat(&ids[0]), Err(GroupError::RebalanceInProgress));
        bench.pass(5_000);
    }
    assert_eq!(bench.group.leader.as_ref(), Some(&ids[1]));
    assert_eq!(bench.group.state(), State::CompletingRebalance);
}

#[test]
fn sessions_end_without_heartbeats() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    for _ in 0..10 {
        bench.pass(SESSION - 1);
        for id in &ids {
            assert_eq!(bench.heartbeat(id), Ok(()));
        }
    }
    bench.pass(SESSION - 1);
    assert_eq!(bench.heartbeat(&ids[0]), Ok(()));
    bench.pass(1);
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert_eq!(bench.heartbeat(&ids[0]), Err(GroupError::RebalanceInProgress));
    let ticket = bench.join(join_request(&ids[0]));
    assert_eq!(bench.answer(ticket).members.len(), 1);
    // And the last one: the group is empty, which is stored.
    bench.sync_as(&ids[0], &[]);
    bench.pass(SESSION);
    assert_eq!(bench.group.state(), State::Empty);
    let last = bench.stored.last().expect("stored");
    assert_eq!((last.generation, last.members.len(), last.protocol.as_ref()), (3, 0, None));
}

#[test]
fn waiting_members_do_not_time_out_but_new_ones_do_at_last() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    // The member keeps its place by heartbeats for the whole time and never joins; a new one waits.
    let new = bench.join(JoinGroup { rebalance_timeout_ms: i32::MAX, ..join_request("") });
    let timeout = bench.settings.new_member_join_timeout.as_millis() as i64;
    let mut waited = 0;
    while waited < timeout {
        bench.pass(5_000);
        waited += 5_000;
        bench.heartbeat(&ids[0]).expect_err("rebalancing");
    }
    assert_eq!(bench.refusal(new), &GroupError::UnknownMemberId);
}

#[test]
fn leaving() {
    let mut bench = Bench::new();
    let ids = bench.stable(3);
    assert_eq!(bench.leave("nobody"), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.group.state(), State::Stable);
    assert_eq!(bench.leave(&ids[2]), Ok(()));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    let first = bench.join(join_request(&ids[0]));
    assert!(!bench.joined.contains_key(&first));
    // The one that is awaited leaves: nobody else is.
    assert_eq!(bench.leave(&ids[1]), Ok(()));
    assert_eq!(bench.answer(first).members.len(), 1);
    // It waits for its assignment when it is removed: it is answered.
    let second = bench.join(join_request(""));
    let waits = bench.join(join_request(&ids[0]));
    assert_eq!(bench.answer(waits).members.len(), 2);
    let follower = bench.answer(second).member.clone();
    let sync = bench.sync_as(&follower, &[]);
    bench.leave(&follower).expect("left");
    assert_eq!(bench.synced[&sync], Err(GroupError::UnknownMemberId));
    bench.leave(&ids[0]).expect("left");
    assert_eq!(bench.group.state(), State::Empty);
    assert!(bench.group.is_deserted());
}

#[test]
fn who_does_not_sync_is_out() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(join_request("")), bench.join(join_request("")));
    bench.pass(2 * DELAY);
    let (leader, follower) = (bench.answer(a).member.clone(), bench.answer(b).member.clone());
    let waits = bench.sync_as(&follower, &[]);
    let mut passed = 0;
    while passed < REBALANCE {
        bench.pass(5_000);
        passed += 5_000;
        let _ = bench.heartbeat(&leader);
    }
    assert_eq!(bench.synced[&waits], Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.heartbeat(&leader), Err(GroupError::UnknownMemberId));
    let again = bench.join(join_request(&follower));
    assert_eq!(bench.answer(again).leader, follower);
}

#[test]
fn protocols_are_chosen_by_vote_among_common_ones() {
    let cases: [(&[&[&str]], Option<&str>); 5] = [
        (&[&["range", "roundrobin"], &["range", "roundrobin"]], Some("range")),
        (&[&["a", "b"], &["b", "a"], &["b", "a"]], Some("b")),
        (&[&["x", "b"], &["b"], &["y", "b"]], Some("b")),
        (&[&["a", "b"], &["b", "a"]], Some("a")),
        (&[&["a"], &["b"]], None),
    ];
    for (members, expected) in cases {
        let mut bench = Bench::new();
        let tickets: Vec<Ticket> =
            members.iter().map(|names| bench.join(with_protocols(join_request(""), names))).collect();
        bench.pass(5 * DELAY);
        match expected {
            Some(protocol) => {
                for ticket in tickets {
                    assert_eq!(bench.answer(ticket).protocol.as_deref(), Some(protocol), "{members:?}");
                }
                let leader = bench.group.leader.clone().expect("leader");
                let metadata = &bench.group.members[&leader].metadata(protocol);
                assert_eq!(metadata, protocol.as_bytes());
            }
            None => assert_eq!(bench.refusal(tickets[1]), &GroupError::InconsistentGroupProtocol),
        }
    }
    let mut bench = Bench::new();
    bench.stable(1);
    let other = bench.join(JoinGroup { protocol_type: "connect".into(), ..join_request("") });
    assert_eq!(bench.refusal(other), &GroupError::InconsistentGroupProtocol);
    let none = bench.join(JoinGroup { protocols: vec![], ..join_request("") });
    assert_eq!(bench.refusal(none), &GroupError::InconsistentGroupProtocol);
}

#[test]
fn syncs_are_refused_with_the_reason() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let right = SyncGroup { member: ids[0].clone(), generation: 1, ..SyncGroup::default() };
    let cases = [
        (SyncGroup { member: "x".into(), ..right.clone() }, Some(GroupError::UnknownMemberId)),
        (SyncGroup { generation: 0, ..right.clone() }, Some(GroupError::IllegalGeneration)),
        (
            SyncGroup { protocol: Some("x".into()), ..right.clone() },
            Some(GroupError::InconsistentGroupProtocol),
        ),
        (
            SyncGroup { protocol_type: Some("x".into()), ..right.clone() },
            Some(GroupError::InconsistentGroupProtocol),
        ),
        (SyncGroup { instance: Some("i".into()), ..right.clone() }, Some(GroupError::UnknownMemberId)),
        (right.clone(), None),
    ];
    for (request, error) in cases {
        let ticket = bench.sync(request.clone());
        assert_eq!(bench.synced[&ticket].clone().err(), error, "{request:?}");
    }
    bench.join(join_request(""));
    let ticket = bench.sync(right);
    assert_eq!(bench.synced[&ticket], Err(GroupError::RebalanceInProgress));
}

#[test]
fn assignments_that_cannot_be_stored_are_not_handed_out() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(join_request("")), bench.join(join_request("")));
    bench.pass(2 * DELAY);
    let (leader, follower) = (bench.answer(a).member.clone(), bench.answer(b).member.clone());
    let waits = bench.sync_as(&follower, &[]);
    let error = GroupError::CoordinatorNotAvailable("disk".into());
    bench.failures.push_back(error.clone());
    let refused = bench.sync_as(&leader, &[(&follower, "b")]);
    assert_eq!((&bench.synced[&waits], &bench.synced[&refused]), (&Err(error.clone()), &Err(error)));
    assert_eq!(bench.group.state(), State::PreparingRebalance);
    assert!(bench.group.members.values().all(|m| m.assignment.is_empty()));
}

#[test]
fn a_static_member_comes_back_unnoticed() {
    for skips_assignment in [false, true] {
        let mut bench = Bench::new();
        let (a, b) = (bench.join(static_join("i1", "")), bench.join(static_join("i2", "")));
        bench.pass(2 * DELAY);
        let (leader, follower) = (bench.answer(a).member.clone(), bench.answer(b).member.clone());
        assert!(leader.starts_with("i1-"));
        bench.sync_as(&follower, &[]);
        bench.sync_as(&leader, &[(&leader, "a"), (&follower, "b")]);

        let back = bench.join(JoinGroup { skips_assignment, ..static_join("i1", "") });
        let answer = bench.answer(back).clone();
        assert_eq!((answer.generation, bench.group.state()), (1, State::Stable));
        assert_ne!(answer.member, leader);
        if skips_assignment {
            assert_eq!((&answer.leader, answer.members.len()), (&answer.member, 2));
        } else {
            assert_eq!((&answer.leader, answer.members.len()), (&leader, 0));
        }
        assert_eq!(answer.skip_assignment, skips_assignment);
        let stored = bench.stored.last().expect("the new id is stored");
        assert!(stored.members.iter().any(|m| m.member == answer.member && m.assignment == "a"));
        let sync = bench.sync_as(&answer.member, &[]);
        assert_eq!(bench.assignment(sync), b"a");
        // The old id is fenced, with and without the instance.
        let who = |instance: Option<&str>| Identity {
            member: leader.clone(),
            instance: instance.map(str::to_owned),
            generation: 1,
        };
        let beat = bench.step(|group, step| group.heartbeat(step, &who(Some("i1"))));
        assert_eq!(beat, Err(GroupError::FencedInstanceId));
        assert_eq!(bench.group.validate_commit(&who(Some("i1")), false), Err(GroupError::FencedInstanceId));
        assert_eq!(bench.group.validate_commit(&who(None), false), Err(GroupError::UnknownMemberId));
        let again = bench.join(static_join("i1", &leader));
        assert_eq!(bench.refusal(again), &GroupError::FencedInstanceId);
    }
}

#[test]
fn a_static_member_that_changes_the_protocol_rebalances() {
    let mut bench = Bench::new();
    let a = bench.join(with_protocols(static_join("i1", ""), &["range", "sticky"]));
    bench.pass(DELAY);
    let id = bench.answer(a).member.clone();
    bench.sync_as(&id, &[]);
    let back = bench.join(with_protocols(static_join("i1", ""), &["sticky"]));
    assert_eq!((bench.answer(back).generation, bench.answer(back).protocol.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_replacement_that_cannot_be_stored_is_undone() {
    let mut bench = Bench::new();
    let a = bench.join(static_join("i1", ""));
    bench.pass(DELAY);
    let id = bench.answer(a).member.clone();
    bench.sync_as(&id, &[(&id, "a")]);
    bench.failures.push_back(GroupError::CoordinatorNotAvailable("disk".into()));
    let back = bench.join(static_join("i1", ""));
    assert!(matches!(bench.refusal(back), GroupError::CoordinatorNotAvailable(_)));
    assert_eq!(bench.group.leader.as_ref(), Some(&id));
    assert_eq!(bench.heartbeat(&id), Ok(()));
}

#[test]
fn a_static_member_keeps_its_place_while_the_others_rebalance() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(static_join("i1", "")), bench.join(join_request("")));
    bench.pass(2 * DELAY);
    let (fixed, other) = (bench.answer(a).member.clone(), bench.answer(b).member.clone());
    bench.sync_as(&other, &[]);
    bench.sync_as(&fixed, &[]);
    let long = |id: &str| JoinGroup { session_timeout_ms: 1_000_000, ..static_join("i1", id) };
    let renewed = bench.join(long(&fixed));
    bench.join(join_request(&other));
    assert_eq!(bench.answer(renewed).generation, 2);
    bench.sync_as(&other, &[]);
    bench.sync_as(&fixed, &[]);
    // It is away during a rebalance: it is not removed, the other leads.
    let changed = bench.join(with_protocols(join_request(&other), &["range", "x"]));
    bench.pass(REBALANCE);
    assert_eq!(bench.answer(changed).leader, other);
    assert_eq!(bench.answer(changed).members.len(), 2);
    // An administrator removes it by its instance.
    let leaving = Leaving { member: String::new(), instance: Some("i1".into()) };
    assert_eq!(bench.step(|group, step| group.leave(step, &[leaving])), vec![Ok(())]);
    assert!(!bench.group.static_members.contains_key("i1"));
}

#[test]
fn a_duplicate_static_member_is_fenced_while_it_waits() {
    let mut bench = Bench::new();
    let first = bench.join(static_join("i1", ""));
    let second = bench.join(static_join("i1", ""));
    assert_eq!(bench.refusal(first), &GroupError::FencedInstanceId);
    bench.pass(2 * DELAY);
    assert_eq!(bench.answer(second).members.len(), 1);
}

#[test]
fn a_repeated_request_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let first = bench.join(join_request(&ids[0]));
    let second = bench.join(join_request(&ids[0]));
    assert_eq!(bench.refusal(first), &GroupError::RebalanceInProgress);
    bench.join(join_request(&ids[1]));
    assert_eq!(bench.answer(second).generation, 2);
    let first = bench.sync_as(&ids[1], &[]);
    let second = bench.sync_as(&ids[1], &[]);
    assert_eq!(bench.synced[&first], Err(GroupError::RebalanceInProgress));
    bench.sync_as(&ids[0], &[(&ids[1], "b")]);
    assert_eq!(bench.assignment(second), b"b");
    // In CompletingRebalance the answer to a lost JoinGroup is given again.
    bench.join(join_request(&ids[0]));
    bench.join(join_request(&ids[1]));
    let again = bench.join(join_request(&ids[0]));
    assert_eq!((bench.answer(again).generation, bench.answer(again).members.len()), (3, 2));
}

#[test]
fn groups_have_a_largest_size() {
    let mut bench = Bench::new();
    bench.settings.members_max = 2;
    let ids = bench.stable(2);
    let third = bench.join(join_request(""));
    assert!(matches!(bench.refusal(third), GroupError::GroupMaxSizeReached(_)));
    assert_eq!(bench.group.state(), State::Stable);
    bench.join(join_request(&ids[0]));
    let again = bench.join(join_request(&ids[1]));
    assert_eq!(bench.answer(again).generation, 2);
    // So do the ids that wait to be used, and the metadata.
    let mut bench = Bench::new();
    bench.settings.members_max = 2;
    for n in 0..3 {
        let ticket = bench.join(JoinGroup { id_first: true, ..join_request("") });
        assert_eq!(*bench.refusal(ticket) == GroupError::MemberIdRequired, n < 2);
    }
    let mut bench = Bench::new();
    bench.settings.group_bytes_max = 1_000;
    let big = vec![("range".to_owned(), Bytes::from(vec![0; 990]))];
    let ticket = bench.join(JoinGroup { protocols: big.clone(), ..join_request("") });
    assert!(!bench.joined.contains_key(&ticket));
    let ticket = bench.join(JoinGroup { protocols: big, ..join_request("") });
    assert!(matches!(bench.refusal(ticket), GroupError::GroupMaxSizeReached(_)));
}

#[test]
fn who_may_store_offsets() {
    let member = |member: &str, generation| Identity { member: member.into(), instance: None, generation };
    let mut bench = Bench::new();
    assert_eq!(bench.group.validate_commit(&member("", -1), false), Ok(()), "an empty group");
    assert_eq!(bench.group.validate_commit(&member("x", 1), false), Err(GroupError::UnknownMemberId));
    let ids = bench.stable(1);
    let id = ids[0].as_str();
    let cases = [
        (member(id, 1), false, Ok(())),
        (member(id, 0), false, Err(GroupError::IllegalGeneration)),
        (member(id, -1), false, Err(GroupError::IllegalGeneration)),
        (member("x", 1), false, Err(GroupError::UnknownMemberId)),
        (member("", -1), false, Err(GroupError::UnknownMemberId)),
        (member("", -1), true, Ok(())),
        (member(id, 0), true, Err(GroupError::IllegalGeneration)),
    ];
    for (who, in_transaction, expected) in cases {
        assert_eq!(bench.group.validate_commit(&who, in_transaction), expected, "{who:?}");
    }
    bench.join(join_request(""));
    assert_eq!(bench.group.validate_commit(&member(id, 1), false), Ok(()), "on the way out of a generation");
    bench.join(join_request(id));
    assert_eq!(bench.group.state(), State::CompletingRebalance);
    let early = bench.group.validate_commit(&member(id, 2), false);
    assert_eq!(early, Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.group.validate_commit(&member(id, 2), true), Ok(()));
}

#[test]
fn a_group_is_restored_with_its_members_and_whole_sessions() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(static_join("i1", "")), bench.join(join_request("")));
    bench.pass(2 * DELAY);
    let (leader, follower) = (bench.answer(a).member.clone(), bench.answer(b).member.clone());
    bench.sync_as(&follower, &[]);
    bench.sync_as(&leader, &[(&leader, "a"), (&follower, "b")]);
    let value = bench.stored.last().cloned().expect("stored");

    bench.now = 1_000_000;
    bench.group = ClassicGroup::restore(value.clone(), Now { steady: bench.now, wall: bench.now });
    assert_eq!(bench.group.value(), value);
    assert_eq!(bench.group.state(), State::Stable);
    assert_eq!(bench.group.describe().members.len(), 2);
    bench.pass(SESSION - 1);
    assert_eq!(bench.heartbeat(&leader), Ok(()));
    let sync = bench.sync_as(&follower, &[]);
    assert_eq!(bench.assignment(sync), b"b");
    bench.pass(1);
    assert_eq!(
        bench.heartbeat(&leader),
        Err(GroupError::RebalanceInProgress),
        "the follower was not heard of"
    );
}

#[test]
fn subscriptions_tell_which_topics_are_read() {
    let mut bench = Bench::new();
    let subscribed = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
    let ticket = bench.join(JoinGroup { protocols: vec![("range".into(), subscribed)], ..join_request("") });
    bench.pass(DELAY);
    assert!(bench.group.is_subscribed_to("t") && !bench.group.is_subscribed_to("u"));
    let id = bench.answer(ticket).member.clone();
    bench.leave(&id).expect("left");
    assert!(!bench.group.is_subscribed_to("t"));
    bench.stable(1);
    assert!(bench.group.is_subscribed_to("anything"), "unreadable metadata may mean any topic");
}

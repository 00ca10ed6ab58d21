//! The machine against KIP-848, heartbeat by heartbeat.

use std::cell::RefCell;

use super::heartbeat::Context;
use super::records::{Changes, ConsumerKey, KeyValue};
use super::*;
use crate::groups::{ConsumerHeartbeat, Followed};
use crate::settings::GroupSettings;

const SESSION: i64 = 45_000;
const REBALANCE: i32 = 60_000;

#[derive(Default)]
struct Topics(RefCell<(u64, BTreeMap<String, i32>)>);

impl Topics {
    fn set(&self, name: &str, partitions: i32) {
        let mut topics = self.0.borrow_mut();
        topics.0 += 1;
        topics.1.insert(name.to_owned(), partitions);
    }
}

fn id_of(name: &str) -> TopicId {
    let number = name.bytes().fold(0u128, |sum, byte| sum * 256 + u128::from(byte));
    TopicId(uuid::Uuid::from_u128(number))
}

impl Catalogue for Topics {
    fn version(&self) -> u64 {
        self.0.borrow().0
    }
    fn find(&self, topic: &str) -> Option<(TopicId, i32)> {
        self.0.borrow().1.get(topic).map(|partitions| (id_of(topic), *partitions))
    }
    fn names(&self) -> Vec<String> {
        self.0.borrow().1.keys().cloned().collect()
    }
}

/// A group and the members' side of it.
struct Bench {
    group: ConsumerGroup,
    topics: Topics,
    settings: GroupSettings,
    now: i64,
    log: Vec<KeyValue>,
    /// What each member holds, as far as it knows.
    held: BTreeMap<String, (i32, Vec<i32>)>,
}

impl Bench {
    fn new(partitions: i32) -> Self {
        let topics = Topics::default();
        topics.set("t", partitions);
        Self {
            group: ConsumerGroup::default(),
            topics,
            settings: GroupSettings::default(),
            now: 0,
            log: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now { steady: self.now, wall: self.now }
    }

    fn send(&mut self, request: &ConsumerHeartbeat) -> Result<Followed, GroupError> {
        request.check()?;
        let now = self.now();
        let version = self.topics.version();
        if let Some(followed) = self.group.follow_on(now, &self.settings, version, request) {
            return Ok(followed);
        }
        let mut next = self.group.clone();
        let mut cx =
            Context { now, settings: &self.settings, catalogue: &self.topics, changes: Changes::default() };
        let followed = next.heartbeat(&mut cx, request)?;
        self.log.extend(cx.changes.records);
        self.group = next;
        self.check();
        Ok(followed)
    }

    /// Nothing is with two members, and the log tells the same group.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for member in self.group.members.values() {
            for own in [&member.assigned, &member.revoking] {
                for (topic, partitions) in own {
                    for partition in partitions {
                        assert!(seen.insert((*topic, *partition)), "{partition} is with two");
                    }
                }
            }
        }
        let mut restored = ConsumerGroup::default();
        for (key, value) in &self.log {
            let key = ConsumerKey::decode(key).expect("a key");
            assert_eq!(restored.replay(&key, value.as_deref(), self.now()), Some(()));
        }
        restored.restored(self.now(), &self.settings, &self.topics);
        assert_eq!(
            (restored.epoch, restored.assignment_epoch),
            (self.group.epoch, self.group.assignment_epoch)
        );
        assert_eq!(restored.target, self.group.target);
        assert_eq!(restored.static_members, self.group.static_members);
        for (id, member) in &self.group.members {
            let other = Member {
                deadline: member.deadline,
                revoke_by: member.revoke_by,
                ..restored.members[id].clone()
            };
            assert_eq!(&other, member);
        }
        assert_eq!(restored.members.len(), self.group.members.len());
    }

    fn fire(&mut self) {
        let mut next = self.group.clone();
        let now = self.now();
        let mut cx =
            Context { now, settings: &self.settings, catalogue: &self.topics, changes: Changes::default() };
        next.fire(&mut cx, "g");
        self.log.extend(cx.changes.records);
        self.group = next;
        self.check();
    }

    fn join(&mut self, member: &str) -> Followed {
        let followed = self.send(&joining(member)).expect("joined");
        self.note(&followed);
        followed
    }

    fn note(&mut self, followed: &Followed) {
        let held = self.held.entry(followed.member.clone()).or_default();
        held.0 = followed.epoch;
        if let Some(assignment) = &followed.assignment {
            held.1 = assignment.iter().flat_map(|(_, partitions)| partitions.clone()).collect();
        }
    }

    /// A heartbeat of a member that does what it was told.
    fn beat(&mut self, member: &str) -> Followed {
        let (epoch, held) = self.held[member].clone();
        let owned = if held.is_empty() { vec![] } else { vec![(id_of("t"), held)] };
        let request = ConsumerHeartbeat { epoch, owned: Some(owned), ..following(member) };
        let followed = self.send(&request).expect("followed");
        self.note(&followed);
        followed
    }

    fn settle(&mut self, members: &[&str]) {
        for _ in 0..5 {
            for member in members {
                self.beat(member);
            }
        }
        assert_eq!(self.group.state_name(), "Stable");
    }

    fn count(&self, member: &str) -> usize {
        self.held[member].1.len()
    }
}

fn following(member: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: "g".into(),
        member: member.into(),
        rebalance_timeout_ms: -1,
        ..ConsumerHeartbeat::default()
    }
}

fn joining(member: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout_ms: REBALANCE,
        topics: Some(vec!["t".into()]),
        owned: Some(vec![]),
        ..following(member)
    }
}

#[test]
fn partitions_are_given_back_before_they_are_given_on() {
    let mut bench = Bench::new(6);
    let first = bench.join("a");
    assert_eq!((first.epoch, bench.count("a"), bench.group.state_name()), (1, 6, "Stable"));
    let second = bench.join("b");
    assert_eq!((second.epoch, bench.count("b")), (2, 0), "everything is still with the first");
    assert_eq!(bench.group.state_name(), "Reconciling");
    // The first is told what to keep and stays in its epoch until it has given the rest back.
    let told = bench.beat("a");
    assert_eq!((told.epoch, bench.count("a")), (1, 3));
    assert_eq!(bench.join_free("b"), 0);
    let done = bench.beat("a");
    assert_eq!(done.epoch, 2);
    bench.beat("b");
    assert_eq!((bench.count("a"), bench.count("b")), (3, 3));
    bench.settle(&["a", "b"]);
    bench.join("c");
    bench.settle(&["a", "b", "c"]);
    assert_eq!(["a", "b", "c"].map(|m| bench.count(m)), [2, 2, 2]);
    // One leaves: what it had goes to the others.
    let left = bench.send(&ConsumerHeartbeat { epoch: LEAVING, ..following("b") }).expect("left");
    assert_eq!((left.epoch, left.assignment), (LEAVING, None));
    bench.settle(&["a", "c"]);
    assert_eq!(["a", "c"].map(|m| bench.count(m)), [3, 3]);
}

impl Bench {
    fn join_free(&mut self, member: &str) -> usize {
        self.beat(member);
        self.count(member)
    }
}

#[test]
fn a_member_that_does_not_say_what_it_owns_owns_everything() {
    let mut bench = Bench::new(4);
    bench.join("a");
    bench.join("b");
    assert_eq!(bench.beat("a").epoch, 1);
    for _ in 0..3 {
        let silent = ConsumerHeartbeat { epoch: 1, ..following("a") };
        assert_eq!(bench.send(&silent).expect("followed").epoch, 1);
    }
    assert_eq!(bench.join_free("b"), 0);
    // It does not give back in time: it is out, and the other gets all.
    bench.now += i64::from(REBALANCE);
    let alive = ConsumerHeartbeat { epoch: 2, ..following("b") };
    bench.send(&alive).expect("followed");
    bench.fire();
    let late = bench.send(&ConsumerHeartbeat { epoch: 1, ..following("a") });
    assert_eq!(late, Err(GroupError::UnknownMemberId));
    bench.beat("b");
    assert_eq!(bench.count("b"), 4);
}

#[test]
fn epochs_fence() {
    let mut bench = Bench::new(2);
    bench.join("a");
    bench.join("b");
    bench.settle(&["a", "b"]);
    let epoch = bench.held["a"].0;
    let with = |epoch: i32, owned: Option<Vec<i32>>| ConsumerHeartbeat {
        epoch,
        owned: owned.map(|p| vec![(id_of("t"), p)]),
        ..following("a")
    };
    let fenced =
        |outcome: Result<Followed, GroupError>| matches!(outcome, Err(GroupError::FencedMemberEpoch(_)));
    assert!(fenced(bench.send(&with(epoch + 1, None))));
    assert!(fenced(bench.send(&with(epoch - 1, None))), "it does not say what it owns");
    let own = bench.held["a"].1.clone();
    let answer = bench.send(&with(epoch - 1, Some(own))).expect("its last answer was lost");
    assert_eq!(answer.epoch, epoch);
    assert!(fenced(bench.send(&with(epoch - 1, Some(vec![0, 1])))));
    assert_eq!(bench.send(&with(epoch, None)).expect("followed").assignment, None);
    assert_eq!(
        bench.send(&ConsumerHeartbeat { epoch: 5, ..following("x") }),
        Err(GroupError::UnknownMemberId)
    );
    // It has abandoned everything and joins again.
    let again = bench.join("a");
    assert_eq!(again.assignment.expect("told").len(), 1);
    bench.settle(&["a", "b"]);
    assert_eq!((bench.count("a"), bench.count("b")), (1, 1));
}

#[test]
fn sessions_end() {
    let mut bench = Bench::new(2);
    bench.join("a");
    bench.join("b");
    bench.settle(&["a", "b"]);
    bench.now += SESSION - 1;
    bench.beat("a");
    bench.now += 1;
    assert!(bench.group.wake().is_some_and(|at| at <= bench.now));
    bench.fire();
    assert_eq!(bench.group.members.len(), 1);
    bench.settle(&["a"]);
    assert_eq!(bench.count("a"), 2);
    bench.now += SESSION;
    bench.fire();
    assert!(bench.group.is_empty() && bench.group.wake().is_none());
    assert_eq!(bench.group.state_name(), "Empty");
}

#[test]
fn static_members_leave_for_a_while() {
    let mut bench = Bench::new(4);
    let fixed = |id: &str| ConsumerHeartbeat { instance: Some("i".into()), ..joining(id) };
    let followed = bench.send(&fixed("a1")).expect("joined");
    bench.note(&followed);
    bench.join("b");
    for _ in 0..4 {
        let (epoch, held) = bench.held["a1"].clone();
        let owned = Some(vec![(id_of("t"), held)]);
        let request = ConsumerHeartbeat { epoch, owned, instance: Some("i".into()), ..following("a1") };
        let followed = bench.send(&request).expect("followed");
        bench.note(&followed);
        bench.beat("b");
    }
    let (epoch, before) = (bench.group.epoch, bench.held["a1"].1.clone());
    assert_eq!(bench.send(&fixed("a2")), Err(GroupError::UnreleasedInstanceId));
    let away =
        ConsumerHeartbeat { epoch: LEAVING_FOR_A_WHILE, instance: Some("i".into()), ..following("a1") };
    assert_eq!(bench.send(&away).expect("left").epoch, LEAVING_FOR_A_WHILE);
    let back = bench.send(&fixed("a2")).expect("back");
    bench.note(&back);
    assert_eq!((bench.group.epoch, back.epoch), (epoch, epoch), "nobody else notices");
    assert_eq!(bench.held["a2"].1, before);
    assert_eq!(bench.send(&away), Err(GroupError::FencedInstanceId));
    let gone = ConsumerHeartbeat { epoch: LEAVING, instance: Some("i".into()), ..following("a2") };
    bench.send(&gone).expect("left");
    bench.settle(&["b"]);
    assert_eq!(bench.count("b"), 4);
}

#[test]
fn topics_that_come_and_grow_are_assigned() {
    let mut bench = Bench::new(1);
    let pattern = |regex: &str| ConsumerHeartbeat { topics: None, regex: Some(regex.into()), ..joining("a") };
    bench.send(&pattern("t|u.*")).expect("joined");
    bench.topics.set("t", 3);
    let heartbeat = |epoch: i32| ConsumerHeartbeat { epoch, owned: None, ..following("a") };
    let followed = bench.send(&heartbeat(1)).expect("followed");
    let partitions = |followed: &Followed| {
        followed.assignment.as_ref().map_or(0, |a| a.iter().map(|(_, p)| p.len()).sum::<usize>())
    };
    assert_eq!((followed.epoch, partitions(&followed)), (2, 3));
    bench.topics.set("other", 9);
    let followed = bench.send(&heartbeat(2)).expect("followed");
    assert_eq!((followed.epoch, followed.assignment), (2, None), "that is no topic of theirs");
    bench.topics.set("under", 2);
    let followed = bench.send(&heartbeat(2)).expect("followed");
    assert_eq!((followed.epoch, partitions(&followed)), (3, 5));
    assert!(matches!(bench.send(&pattern("(")), Err(GroupError::InvalidRegularExpression(_))));
    assert!(bench.group.is_subscribed_to("ultra") && !bench.group.is_subscribed_to("xt"));
}

#[test]
fn requests_are_checked() {
    let cases = [
        ConsumerHeartbeat { group: " ".into(), ..joining("a") },
        ConsumerHeartbeat { rebalance_timeout_ms: -1, ..joining("a") },
        ConsumerHeartbeat { owned: None, ..joining("a") },
        ConsumerHeartbeat { topics: None, ..joining("a") },
        ConsumerHeartbeat { member: String::new(), id_required: true, ..joining("a") },
        ConsumerHeartbeat { epoch: 1, ..following("") },
        ConsumerHeartbeat { epoch: LEAVING_FOR_A_WHILE, ..following("a") },
        ConsumerHeartbeat { epoch: -3, ..following("a") },
        ConsumerHeartbeat { instance: Some(String::new()), ..joining("a") },
    ];
    for request in cases {
        assert!(matches!(request.check(), Err(GroupError::InvalidRequest(_))), "{request:?}");
    }
    let other = ConsumerHeartbeat { assignor: Some("sticky".into()), ..joining("a") };
    assert!(matches!(other.check(), Err(GroupError::UnsupportedAssignor(_))));
    let mut bench = Bench::new(1);
    bench.settings.members_max = 1;
    bench.join("a");
    assert!(matches!(bench.send(&joining("b")), Err(GroupError::GroupMaxSizeReached(_))));
    let nameless = bench.send(&ConsumerHeartbeat { member: String::new(), ..joining("") });
    assert!(matches!(nameless, Err(GroupError::GroupMaxSizeReached(_))));
}

#[test]
fn offsets_need_the_present_epoch() {
    let mut bench = Bench::new(1);
    let who = |member: &str, generation: i32| Identity { member: member.into(), instance: None, generation };
    assert_eq!(bench.group.validate_commit(&who("", -1), false, true), Ok(()));
    let epoch = bench.join("a").epoch;
    let group = &bench.group;
    let cases = [
        (who("a", epoch), false, true, Ok(())),
        (who("a", epoch + 1), false, true, Err(GroupError::StaleMemberEpoch)),
        (who("x", epoch), false, true, Err(GroupError::UnknownMemberId)),
        (who("", -1), false, true, Err(GroupError::UnknownMemberId)),
        (who("", -1), true, false, Ok(())),
    ];
    for (who, in_transaction, knows_epochs, expected) in cases {
        assert_eq!(group.validate_commit(&who, in_transaction, knows_epochs), expected, "{who:?}");
    }
    let old = group.validate_commit(&who("a", epoch), false, false);
    assert!(matches!(old, Err(GroupError::UnsupportedVersion(_))));
    assert_eq!(group.validate_fetch(None, -1), Ok(()));
    assert_eq!(group.validate_fetch(Some("a"), epoch), Ok(()));
    assert_eq!(group.validate_fetch(Some("a"), epoch + 1), Err(GroupError::StaleMemberEpoch));
    assert_eq!(group.validate_fetch(Some("x"), epoch), Err(GroupError::UnknownMemberId));
}

#[test]
fn records_are_kafkas_bytes() {
    let mut bench = Bench::new(1);
    let request = ConsumerHeartbeat {
        client: Client { id: "c".into(), host: "/h".into() },
        instance: Some("i".into()),
        assignor: Some("range".into()),
        ..joining("m")
    };
    bench.send(&request).expect("joined");
    let value_of = |version: u8| {
        let found = bench.log.iter().find(|(key, _)| key[1] == version);
        found.and_then(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(bench.log[0].0, b"\0\x05\0\x01g\0\x01m");
    assert_eq!(value_of(5), b"\0\0\x02i\0\x02c\x03/h\x02\x02t\0\0\0\xea\x60\x06range\0");
    assert_eq!(value_of(3), b"\0\0\0\0\0\x01\0");
    assert_eq!(value_of(6), b"\0\0\0\0\0\x01\0");
    let topic = [&[0; 15][..], b"t"].concat();
    let assignment = [b"\x02", &topic[..], b"\x02\0\0\0\0\0"].concat();
    assert_eq!(value_of(7), [b"\0\0", &assignment[..], b"\0"].concat());
    assert_eq!(value_of(8), [b"\0\0\0\0\0\x01\0\0\0\0\x01", &assignment[..], b"\x01\0"].concat());
}

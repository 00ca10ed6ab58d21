//! Groups over the log: what was acknowledged survives restarts and power cuts, and what goes away stays away.

use std::time::Duration;

use base::Clock;
use storage::simulated::SimulatedDisk;

use super::power::{Dice, open_on};
use super::*;
use crate::groups::*;
use crate::transactions::TransactionalProducer;

fn offset(partition: i32, offset: i64) -> OffsetToStore {
    OffsetToStore { partition, offset, leader_epoch: 3, metadata: format!("m{offset}") }
}

fn commit(group: &str, topic: &str, offsets: Vec<OffsetToStore>) -> CommitOffsets {
    let identity = Identity { generation: -1, ..Identity::default() };
    let topics = vec![(topic.to_owned(), offsets)];
    CommitOffsets { group: group.into(), identity, knows_epochs: true, retention_ms: None, topics }
}

/// The stored offset of a partition; -1 for none.
fn stored(topics: &Topics, group: &str, topic: &str, partition: i32) -> i64 {
    topics.groups().fetch(group, Some(vec![(topic.into(), vec![partition])]), false)[0].1[0].offset
}

fn join_request(group: &str, member: &str) -> JoinGroup {
    JoinGroup {
        group: group.into(),
        member: member.into(),
        client: Client { id: "c".into(), host: "/h".into() },
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"))],
        ..JoinGroup::default()
    }
}

/// Makes a stable group of one member; gives its id.
async fn stable(topics: &Topics, group: &str) -> String {
    let joined = topics.groups().join(join_request(group, "")).await.expect("joined");
    let sync = SyncGroup {
        group: group.into(),
        member: joined.member.clone(),
        generation: joined.generation,
        assignments: vec![(joined.member.clone(), Bytes::from_static(b"all"))],
        ..SyncGroup::default()
    };
    assert_eq!(topics.groups().sync(sync).await.expect("synced").assignment, "all");
    joined.member
}

/// Looks again and again until something is so.
fn patiently(bench: &Bench, what: &str, is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = bench.wait(async { tokio::time::timeout(Duration::from_secs(20), looking).await });
    assert!(found.is_ok(), "in vain: {what}");
}

fn member(id: &str, generation: i32) -> Identity {
    Identity { member: id.into(), instance: None, generation }
}

#[test]
fn offsets_and_groups_survive_a_restart() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 3);
    let id = bench.wait(async {
        let groups = topics.groups();
        let outcome = groups.commit(commit("simple", "t", vec![offset(0, 5), offset(1, 6)])).await;
        assert_eq!(outcome.expect("stored")[0].1, vec![(0, Ok(())), (1, Ok(()))]);
        groups.commit(commit("simple", "t", vec![offset(0, 7)])).await.expect("stored");
        let id = stable(&topics, "team").await;
        let mut request = commit("team", "t", vec![offset(2, 9)]);
        request.identity = member(&id, 1);
        groups.commit(request).await.expect("stored");
        id
    });
    // Neither close nor checkpoint: as after kill -9.
    drop(topics);
    let topics = bench.open();
    let all = topics.groups().fetch("simple", None, true);
    let found: Vec<_> =
        all[0].1.iter().map(|f| (f.partition, f.offset, f.leader_epoch, f.metadata.as_str())).collect();
    assert_eq!((all.len(), found), (1, vec![(0, 7, 3, "m7"), (1, 6, 3, "m6")]));
    assert_eq!(stored(&topics, "team", "t", 2), 9);
    let described = topics.groups().describe("team").expect("there");
    assert_eq!((described.state, described.members.len()), ("Stable", 1));
    assert_eq!(
        (described.members[0].member.as_str(), &described.members[0].assignment[..]),
        (id.as_str(), &b"all"[..])
    );
    assert_eq!(topics.groups().heartbeat("team", &member(&id, 1)), Ok(()));
    assert_eq!(topics.groups().heartbeat("team", &member(&id, 2)), Err(GroupError::IllegalGeneration));
    bench.close(topics);
}

#[test]
fn what_cannot_be_stored_is_refused_alone() {
    let mut bench = Bench::new();
    bench.settings.groups.offset_metadata_bytes_max = 4;
    bench.settings.groups.offsets_per_group_max = 1;
    bench.settings.groups.groups_max = 2;
    let topics = bench.open();
    create(&topics, 2);
    bench.wait(async {
        let groups = topics.groups();
        let long = OffsetToStore { metadata: "12345".into(), ..offset(0, 1) };
        let outcome =
            groups.commit(commit("g", "t", vec![long, offset(9, 1), offset(1, 1)])).await.expect("some");
        let codes: Vec<_> = outcome[0].1.iter().map(|(_, result)| result.clone().err()).collect();
        assert_eq!(codes[0], Some(GroupError::OffsetMetadataTooLarge { got: 5, max: 4 }));
        assert_eq!((&codes[1], &codes[2]), (&Some(GroupError::UnknownTopicOrPartition), &None));
        let outcome = groups.commit(commit("g", "t", vec![offset(0, 1), offset(1, 2)])).await.expect("some");
        assert!(matches!(outcome[0].1[0].1, Err(GroupError::InvalidCommitOffsetSize(_))));
        assert_eq!(outcome[0].1[1].1, Ok(()));
        let mut foreign = commit("new", "t", vec![offset(0, 1)]);
        foreign.identity = member("m", 1);
        assert_eq!(groups.commit(foreign).await, Err(GroupError::GroupIdNotFound("new".into())));
        groups.commit(commit("h", "t", vec![offset(0, 1)])).await.expect("stored");
        let third = groups.commit(commit("i", "t", vec![offset(0, 1)])).await;
        assert!(matches!(third, Err(GroupError::GroupMaxSizeReached(_))), "{third:?}");
        let refused = groups.join(JoinGroup { session_timeout_ms: 10, ..join_request("g", "") }).await;
        assert!(matches!(
            refused.expect_err("short").error,
            GroupError::InvalidSessionTimeout { got: 10, .. }
        ));
        let refused = groups.join(join_request("", "")).await;
        assert_eq!(refused.expect_err("nameless").error, GroupError::InvalidGroupId);
        let refused = groups.join(join_request("nowhere", "m")).await;
        assert_eq!(refused.expect_err("unknown").error, GroupError::UnknownMemberId);
    });
    assert_eq!(topics.groups().list().len(), 2, "what was refused leaves no group");
    bench.close(topics);
}

#[test]
fn what_is_deleted_stays_deleted() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 3);
    topics.create(NewTopic { name: "u".into(), ..NewTopic::default() }).expect("topic");
    bench.wait(async {
        let groups = topics.groups();
        for group in ["gone", "cut", "kept"] {
            groups.commit(commit(group, "t", vec![offset(0, 5), offset(1, 6)])).await.expect("stored");
            groups.commit(commit(group, "u", vec![offset(0, 7)])).await.expect("stored");
        }
        groups.delete("gone").await.expect("deleted");
        assert_eq!(groups.delete("gone").await, Err(GroupError::GroupIdNotFound("gone".into())));
        let wanted = vec![("t".to_owned(), vec![0, 2, 9])];
        let outcome = groups.delete_offsets("cut", wanted).await.expect("some");
        let expected = vec![(0, Ok(())), (2, Ok(())), (9, Err(GroupError::UnknownTopicOrPartition))];
        assert_eq!(outcome[0].1, expected);
        stable(&topics, "kept").await;
        assert_eq!(groups.delete("kept").await, Err(GroupError::NonEmptyGroup));
        let wanted = vec![("t".to_owned(), vec![0]), ("u".to_owned(), vec![0])];
        let outcome = groups.delete_offsets("kept", wanted).await.expect("some");
        assert_eq!(outcome[0].1[0].1, Err(GroupError::GroupSubscribedToTopic));
        assert_eq!(outcome[1].1[0].1, Ok(()));
    });
    topics.delete("u").expect("deleted");
    let check = |topics: &Topics| {
        let names: Vec<String> = topics.groups().list().into_iter().map(|g| g.group).collect();
        assert_eq!(names, ["cut", "kept"]);
        assert_eq!((stored(topics, "cut", "t", 0), stored(topics, "cut", "t", 1)), (-1, 6));
        assert_eq!((stored(topics, "kept", "t", 0), stored(topics, "kept", "u", 0)), (5, -1));
    };
    check(&topics);
    // The same name in another life has no offsets.
    topics.create(NewTopic { name: "u".into(), ..NewTopic::default() }).expect("topic");
    check(&topics);
    bench.close(topics);
    let topics = bench.open();
    check(&topics);
    bench.close(topics);
}

#[test]
fn offsets_of_deserted_groups_expire() {
    let mut bench = Bench::new();
    bench.settings.groups.offsets_retention = Duration::from_millis(1_000);
    bench.settings.groups.offsets_check_interval = Duration::from_millis(10);
    let topics = bench.open();
    create(&topics, 1);
    let (left, stays) = bench.wait(async {
        topics.groups().commit(commit("simple", "t", vec![offset(0, 1)])).await.expect("stored");
        (stable(&topics, "left").await, stable(&topics, "stays").await)
    });
    for (group, id) in [("left", &left), ("stays", &stays)] {
        let mut request = commit(group, "t", vec![offset(0, 1)]);
        request.identity = member(id, 1);
        bench.wait(topics.groups().commit(request)).expect("stored");
    }
    bench.clock.advance(900);
    let leaving = [Leaving { member: left.clone(), instance: None }];
    bench.wait(topics.groups().leave("left", &leaving)).expect("left");
    bench.clock.advance(100);
    let names = |topics: &Topics| topics.groups().list().into_iter().map(|g| g.group).collect::<Vec<_>>();
    patiently(&bench, "the simple group expires", || names(&topics) == ["left", "stays"]);
    bench.clock.advance(900);
    patiently(&bench, "the deserted group expires", || names(&topics) == ["stays"]);
    assert_eq!(stored(&topics, "stays", "t", 0), 1);
    bench.close(topics);
    let topics = bench.open();
    assert_eq!(names(&topics), ["stays"]);
    bench.close(topics);
}

#[test]
fn offsets_of_topics_that_went_unnoticed_go_too() {
    let mut bench = Bench::new();
    bench.settings.groups.offsets_check_interval = Duration::from_millis(10);
    let topics = bench.open();
    create(&topics, 1);
    bench.wait(topics.groups().commit(commit("g", "t", vec![offset(0, 1)]))).expect("stored");
    // As if the node had stopped between a topic's deletion and its tombstones.
    let key = records::Key::Offset { group: "ghost".into(), topic: "gone".into(), partition: 0 };
    let value = records::OffsetValue {
        offset: 1,
        leader_epoch: -1,
        metadata: String::new(),
        commit_ms: bench.clock.now_ms(),
        expire_ms: None,
    };
    let record = (key.encode(), Some(value.encode()));
    let now = Now { steady: 0, wall: bench.clock.now_ms() };
    bench.wait(topics.shared().append_group_records(&[record], now).expect("queued").1).expect("durable");
    bench.close(topics);
    for _ in 0..2 {
        let topics = bench.open();
        patiently(&bench, "the orphan goes", || topics.groups().list().len() == 1);
        bench.close(topics);
        // The second time it is not even loaded.
        bench.settings.groups.offsets_check_interval = Duration::from_secs(1_000);
    }
}

#[test]
fn offsets_of_transactions_count_once_they_are_committed() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create(&topics, 2);
    let timeout_ms = 60_000;
    let (producer_id, producer_epoch) =
        bench.wait(topics.init_transactional_producer("copier", timeout_ms, None)).expect("producer");
    let who = TransactionalProducer { transactional_id: "copier", producer_id, producer_epoch };
    let unstable = |topics: &Topics| {
        let found = topics.groups().fetch("g", Some(vec![("t".into(), vec![0])]), true);
        found[0].1[0].error.clone()
    };
    bench.wait(topics.groups().commit(commit("g", "t", vec![offset(0, 1)]))).expect("stored");
    for (committed, restarts, expected) in
        [(true, false, 10), (false, false, 10), (true, true, 30), (false, true, 30)]
    {
        let next = if expected == 10 && committed {
            10
        } else if committed {
            30
        } else {
            99
        };
        bench.wait(async {
            let early =
                topics.groups().commit_in_transaction(who, commit("g", "t", vec![offset(0, 98)])).await;
            assert!(matches!(early.expect("looked at")[0].1[0].1, Err(GroupError::InvalidTxnState(_))));
            topics.add_offsets_to_transaction(who).await.expect("added");
            let outcome =
                topics.groups().commit_in_transaction(who, commit("g", "t", vec![offset(0, next)])).await;
            assert_eq!(outcome.expect("stored")[0].1[0].1, Ok(()));
        });
        let before = stored(&topics, "g", "t", 0);
        assert!(before < next, "{before} before the end");
        assert_eq!(unstable(&topics), Some(GroupError::UnstableOffsetCommit));
        if restarts {
            drop(topics);
            topics = bench.open();
            assert_eq!(
                (stored(&topics, "g", "t", 0), unstable(&topics)),
                (before, Some(GroupError::UnstableOffsetCommit))
            );
        }
        bench.wait(topics.end_transaction(who, committed)).expect("ended");
        assert_eq!((stored(&topics, "g", "t", 0), unstable(&topics)), (expected, None));
        if restarts {
            drop(topics);
            topics = bench.open();
            assert_eq!((stored(&topics, "g", "t", 0), unstable(&topics)), (expected, None));
        }
    }
    // A fenced producer stores nothing.
    bench.wait(async {
        topics.init_transactional_producer("copier", timeout_ms, None).await.expect("a newer one");
        let late = topics.groups().commit_in_transaction(who, commit("g", "t", vec![offset(0, 98)])).await;
        assert!(matches!(late.expect("looked at")[0].1[0].1, Err(GroupError::ProducerFenced(_))));
    });
    bench.close(topics);
}

#[test]
#[expect(
    clippy::await_holding_lock,
    reason = "the log writer is held up on purpose, and nothing is waited for"
)]
fn the_next_transaction_waits_for_the_end_of_the_one_before() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    bench.wait(async {
        let (producer_id, producer_epoch) =
            topics.init_transactional_producer("copier", 60_000, None).await.expect("producer");
        let who = TransactionalProducer { transactional_id: "copier", producer_id, producer_epoch };
        topics.add_offsets_to_transaction(who).await.expect("added");
        topics
            .groups()
            .commit_in_transaction(who, commit("g", "t", vec![offset(0, 7)]))
            .await
            .expect("stored");
        {
            // The log writer cannot tell anybody that the end is durable.
            let held = topics.shared().publishing.lock();
            let mut ending = std::pin::pin!(topics.end_transaction(who, true));
            assert!(futures::poll!(&mut ending).is_pending());
            let early = std::pin::pin!(topics.add_offsets_to_transaction(who));
            assert!(matches!(
                futures::poll!(early),
                std::task::Poll::Ready(Err(TransactionError::Concurrent(_)))
            ));
            drop(held);
            ending.await.expect("ended");
        }
        topics.add_offsets_to_transaction(who).await.expect("the next one");
    });
    assert_eq!(stored(&topics, "g", "t", 0), 7);
    bench.close(topics);
}

/// What clients know: for each group and partition the offsets that may be stored, the last acknowledged one first.
type KnownOffsets = BTreeMap<(String, i32), i64>;

#[test]
fn power_cuts_lose_no_acknowledged_offset() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime");
    let mut dice = Dice(11);
    let mut checked = 0;
    for seed in 0..120 {
        let mut disk = SimulatedDisk::new();
        let topics = open_on(&disk, &runtime).expect("the first start has power");
        create(&topics, 3);
        drop(topics);
        let mut acknowledged = KnownOffsets::new();
        let mut next = 1;
        for round in 0..3 {
            disk.cut_power_after(dice.roll(80));
            if let Some(topics) = open_on(&disk, &runtime) {
                for ((group, partition), offset) in &acknowledged {
                    let found = stored(&topics, group, "t", *partition);
                    assert!(
                        found >= *offset,
                        "seed {seed}: {group} {partition} has {found}, {offset} was acknowledged"
                    );
                    checked += 1;
                }
                let working = async {
                    for _ in 0..1 + dice.roll(30) {
                        let group = format!("g{}", dice.roll(3));
                        let partition = dice.roll(3) as i32;
                        let outcome =
                            topics.groups().commit(commit(&group, "t", vec![offset(partition, next)])).await;
                        match outcome {
                            Ok(outcome) if outcome[0].1[0].1.is_ok() => {
                                acknowledged.insert((group, partition), next);
                            }
                            _ => return,
                        }
                        next += 1;
                    }
                };
                runtime.block_on(working);
            }
            disk = disk.after_power_cut(seed * 10 + round);
        }
        let topics = open_on(&disk, &runtime).expect("with power it opens");
        for ((group, partition), offset) in &acknowledged {
            let found = stored(&topics, group, "t", *partition);
            assert!(found >= *offset && found <= next, "seed {seed}: {found} for {offset}");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

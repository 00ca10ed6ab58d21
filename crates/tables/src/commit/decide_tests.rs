use uuid::Uuid;

use super::*;
use crate::commit::facts::Carrier;
use crate::progress::{Carried, Fates, Position, Recorded};

fn source(partition: i32) -> SourceId {
    SourceId { log: Uuid::from_u128(1), topic: Uuid::from_u128(2), partition }
}

fn at(next: i64) -> Position {
    Position { next, hash: next as u64 * 31 }
}

fn progress(nexts: &[i64]) -> Progress {
    nexts.iter().enumerate().map(|(p, next)| (source(p as i32), Recorded::from_here(at(*next)))).collect()
}

fn advance(partition: i32, from: i64, to: i64) -> Advance {
    Advance { source: source(partition), from, to: at(to), fates: Fates::default() }
}

fn carrier(sequence: i64, nexts: &[i64]) -> Option<Carrier> {
    let carried = Carried { sequence, progress: progress(nexts) };
    Some(Carrier { snapshot_id: sequence * 100, carried })
}

fn property(sequence: i64, nexts: &[i64]) -> Option<Carried> {
    Some(Carried { sequence, progress: progress(nexts) })
}

fn facts(nexts: &[i64]) -> Facts {
    Facts { head: Some(500), carrier: carrier(5, nexts), expired_before: None, property: property(5, nexts) }
}

fn judge(facts: &Facts, advances: &[Advance]) -> Decision {
    decide(facts, &Proposal { base: facts.head, advances })
}

/// A name per outcome, so that tables stay readable.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Commit => "commit",
        Decision::AlreadyDone => "already done",
        Decision::Rebase => "rebase",
        Decision::Fenced { .. } => "fenced",
        Decision::Gap { .. } => "gap",
        Decision::Diverged { .. } => "diverged",
        Decision::RolledBack { .. } => "rolled back",
    }
}

#[test]
fn the_range_is_the_fence() {
    let cases: &[(&str, &[i64], &[Advance], &str)] = &[
        ("first of a new table", &[], &[advance(0, 0, 10)], "commit"),
        ("first of a new table whose log starts late", &[], &[advance(0, 70, 80)], "commit"),
        ("next in line", &[10], &[advance(0, 10, 20)], "commit"),
        ("the same range again", &[20], &[advance(0, 10, 20)], "already done"),
        ("an older range", &[90], &[advance(0, 10, 20)], "already done"),
        ("a strict prefix is there", &[15], &[advance(0, 10, 20)], "fenced"),
        ("a hole before the range", &[9], &[advance(0, 10, 20)], "gap"),
        ("both next in line", &[10, 7], &[advance(0, 10, 20), advance(1, 7, 9)], "commit"),
        ("both done", &[20, 9], &[advance(0, 10, 20), advance(1, 7, 9)], "already done"),
        ("one done, one next", &[20, 7], &[advance(0, 10, 20), advance(1, 7, 9)], "fenced"),
        ("one next, one done", &[10, 9], &[advance(0, 10, 20), advance(1, 7, 9)], "fenced"),
        ("one next, one with a hole", &[10, 6], &[advance(0, 10, 20), advance(1, 7, 9)], "gap"),
        ("a new partition beside an old one", &[10], &[advance(0, 10, 20), advance(1, 0, 9)], "commit"),
        ("a new partition beside a done one", &[20], &[advance(0, 10, 20), advance(1, 0, 9)], "fenced"),
        (
            "an empty range beside one that is next",
            &[10, 7],
            &[advance(0, 10, 20), advance(1, 7, 7)],
            "commit",
        ),
        (
            "an empty range beside a done one",
            &[20, 7],
            &[advance(0, 10, 20), advance(1, 7, 7)],
            "already done",
        ),
        ("only an empty range", &[10], &[advance(0, 10, 10)], "commit"),
        ("no ranges at all", &[10], &[], "commit"),
    ];
    for (name, nexts, advances, expected) in cases {
        let facts = if nexts.is_empty() { Facts::default() } else { facts(nexts) };
        assert_eq!(word(&judge(&facts, advances)), *expected, "{name}");
    }
}

#[test]
fn a_refusal_names_the_source() {
    assert_eq!(
        judge(&facts(&[10, 8]), &[advance(0, 10, 20), advance(1, 7, 9)]),
        Decision::Fenced { source: source(1), recorded: 8, from: 7, to: 9 }
    );
    assert_eq!(
        judge(&facts(&[10, 6]), &[advance(0, 10, 20), advance(1, 7, 9)]),
        Decision::Gap { source: source(1), recorded: 6, from: 7 }
    );
    assert_eq!(
        judge(&facts(&[20, 7]), &[advance(0, 10, 20), advance(1, 7, 9)]),
        Decision::Fenced { source: source(0), recorded: 20, from: 10, to: 20 }
    );
}

#[test]
fn a_moved_head_means_planning_again() {
    let facts = facts(&[10]);
    let stale = Proposal { base: Some(400), advances: &[advance(0, 10, 20)] };
    assert_eq!(decide(&facts, &stale), Decision::Rebase);
    let done = Proposal { base: Some(400), advances: &[advance(0, 0, 10)] };
    assert_eq!(decide(&facts, &done), Decision::AlreadyDone);
}

#[test]
fn the_same_range_with_other_contents_is_divergence() {
    let mut again = advance(0, 10, 20);
    again.to.hash += 1;
    assert_eq!(word(&judge(&facts(&[20]), &[again])), "diverged");
    again.to.hash = 0;
    assert_eq!(word(&judge(&facts(&[20]), &[again])), "already done", "an unknown hash proves nothing");
}

#[test]
fn another_life_of_a_topic_is_another_source() {
    let mut again = advance(0, 0, 5);
    again.source.topic = Uuid::from_u128(99);
    assert_eq!(judge(&facts(&[20]), &[again]), Decision::Commit);
}

#[test]
fn chain_and_property() {
    let next = [advance(0, 10, 20)];
    let cases: &[(&str, Facts, &str)] = &[
        ("agree", facts(&[10]), "commit"),
        ("the property is gone", Facts { property: None, ..facts(&[10]) }, "commit"),
        ("an old property", Facts { property: property(4, &[3]), ..facts(&[10]) }, "commit"),
        ("a newer property", Facts { property: property(6, &[30]), ..facts(&[10]) }, "rolled back"),
        (
            "same sequence, other progress",
            Facts { property: property(5, &[30]), ..facts(&[10]) },
            "rolled back",
        ),
        ("the chain has expired", Facts { carrier: None, expired_before: Some(6), ..facts(&[10]) }, "commit"),
        (
            "the chain has expired, but the property's snapshot would be in what is left",
            Facts { carrier: None, expired_before: Some(5), ..facts(&[10]) },
            "rolled back",
        ),
        (
            "the chain has expired on a branch older than the property",
            Facts { carrier: None, expired_before: Some(3), ..facts(&[10]) },
            "rolled back",
        ),
        ("a whole chain without a carrier", Facts { carrier: None, ..facts(&[10]) }, "rolled back"),
        ("main is gone", Facts { carrier: None, head: None, ..facts(&[10]) }, "rolled back"),
        (
            "the chain has expired and there is no property",
            Facts { carrier: None, property: None, expired_before: Some(6), head: Some(1) },
            "commit",
        ),
    ];
    for (name, facts, expected) in cases {
        assert_eq!(word(&judge(facts, &next)), *expected, "{name}");
    }
}

#[test]
fn rolled_back_comes_before_everything() {
    let back = Facts { property: property(6, &[30]), ..facts(&[10]) };
    assert_eq!(word(&judge(&back, &[advance(0, 0, 10)])), "rolled back");
    assert_eq!(word(&judge(&back, &[])), "rolled back");
}

#[test]
fn a_log_is_judged_by_its_end_and_its_hashes() {
    let log = |end, hash_before| LogFacts { source: source(0), end, log_start: 0, hash_before };
    let recorded = progress(&[10]);
    let verdict = |facts: LogFacts| matches!(judge_log(&recorded, &[facts]), LogJudgement::Ok);
    assert!(verdict(log(10, Some(310))), "the end itself");
    assert!(verdict(log(50, Some(310))), "more to read");
    assert!(verdict(log(50, None)), "the batch was compacted away");
    assert!(!verdict(log(9, None)), "progress beyond the end");
    assert!(!verdict(log(50, Some(311))), "another batch");
    let mut other = log(0, None);
    other.source.topic = Uuid::from_u128(99);
    assert!(verdict(other), "another life of the topic");
    assert_eq!(judge_log(&recorded, &[]), LogJudgement::Ok, "a deleted topic");
    let unread = Progress::from([(source(0), Recorded::from_here(Position { next: 0, hash: 0 }))]);
    assert_eq!(judge_log(&unread, &[log(50, Some(5))]), LogJudgement::Ok, "nothing was read yet");
}

use base::TopicName;

use super::*;

const NOW: i64 = 5_000;

fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("t").expect("name"), partition }
}

fn set(partitions: &[i32]) -> BTreeSet<TopicPartition> {
    partitions.iter().map(|p| at(*p)).collect()
}

fn in_state(state: TransactionState) -> Transaction {
    let ongoing = matches!(state, Ongoing | PrepareCommit | PrepareAbort);
    Transaction {
        producer_epoch: 3,
        state,
        partitions: if ongoing { set(&[0, 1]) } else { BTreeSet::new() },
        start_ms: if state == Empty { -1 } else { 1_000 },
        ..Transaction::new(7, 60_000, 1_000)
    }
}

#[test]
fn states_answer_requests_as_kafka_does() {
    // State; answers to: add partitions, commit, abort, init without and with the present epoch, produce.
    let store = "store";
    let table = [
        (Empty, store, "state", "state", "store", "store", "state"),
        (Ongoing, store, store, store, "abort", "abort", "ok"),
        (PrepareCommit, "concurrent", "concurrent", "state", "concurrent", "concurrent", "state"),
        (PrepareAbort, "concurrent", "state", "concurrent", "concurrent", "concurrent", "state"),
        (CompleteCommit, store, "done", "state", "store", "store", "state"),
        (CompleteAbort, store, "state", "done", "store", "store", "state"),
        (Dead, "state", "state", "state", "state", "state", "state"),
        (PrepareEpochFence, "state", "state", "state", "concurrent", "concurrent", "state"),
    ];
    let refused = |refused: Refused| match refused {
        Refused::ProducerIdMapping => "mapping",
        Refused::Fenced => "fenced",
        Refused::State(_) => "state",
        Refused::Concurrent => "concurrent",
    };
    let step = |result: Result<Step, Refused>| match result {
        Ok(Step::Store(_)) => "store",
        Ok(Step::Done) => "done",
        Err(error) => refused(error),
    };
    let init = |result: Result<Init, Refused>| match result {
        Ok(Init::Store(_)) => "store",
        Ok(Init::Repeat) => "repeat",
        Ok(Init::Abort(_)) => "abort",
        Ok(Init::Rotate) => "rotate",
        Err(error) => refused(error),
    };
    assert_eq!(table.map(|row| row.0), TransactionState::ALL);
    for (state, add, commit, abort, fresh, known, produce) in table {
        let one = in_state(state);
        let who = (7, 3);
        assert_eq!(step(one.add(who, &set(&[2]), NOW)), add, "add in {state:?}");
        assert_eq!(step(one.end(who, true, NOW)), commit, "commit in {state:?}");
        assert_eq!(step(one.end(who, false, NOW)), abort, "abort in {state:?}");
        assert_eq!(init(one.init(None, 1, NOW)), fresh, "init in {state:?}");
        assert_eq!(init(one.init(Some(who), 1, NOW)), known, "init with epoch in {state:?}");
        assert_eq!(one.verify(who, &at(0)).map_or_else(refused, |()| "ok"), produce, "produce in {state:?}");
        // Whoever has another producer id or epoch gets nothing, whatever the state.
        for (other, expected) in [((8, 3), "mapping"), ((7, 2), "fenced"), ((7, 4), "fenced")] {
            assert_eq!(step(one.add(other, &set(&[0]), NOW)), expected);
            assert_eq!(step(one.end(other, true, NOW)), expected);
            assert_eq!(one.verify(other, &at(0)).map_or_else(refused, |()| "ok"), expected);
        }
    }
}

#[test]
fn a_transaction_begins_with_its_first_partition() {
    let Ok(Step::Store(begun)) = in_state(CompleteCommit).add((7, 3), &set(&[4]), NOW) else { panic!() };
    assert_eq!((begun.state, begun.start_ms, &begun.partitions), (Ongoing, NOW, &set(&[4])));
    assert_eq!(begun.add((7, 3), &set(&[4]), NOW), Ok(Step::Done), "asked again");
    let Ok(Step::Store(grown)) = begun.add((7, 3), &set(&[5]), NOW + 9) else { panic!() };
    assert_eq!((grown.start_ms, grown.updated_ms, &grown.partitions), (NOW, NOW + 9, &set(&[4, 5])));
    assert!(grown.verify((7, 3), &at(6)).is_err());
    let Ok(Step::Store(ended)) = grown.end((7, 3), false, NOW + 10) else { panic!() };
    assert_eq!((ended.state, ended.producer_epoch, ended.partitions.len()), (CompleteAbort, 3, 0));
}

#[test]
fn epochs_are_bumped_fenced_and_repeated() {
    let one = in_state(CompleteCommit);
    let Ok(Init::Store(fresh)) = one.init(None, 9, NOW) else { panic!() };
    assert_eq!((fresh.producer_epoch, fresh.previous_epoch, fresh.timeout_ms), (4, NO_EPOCH, 9));
    assert_eq!(fresh.init(Some((7, 3)), 9, NOW), Err(Refused::Fenced), "a producer took over meanwhile");
    let Ok(Init::Store(bumped)) = one.init(Some((7, 3)), 9, NOW) else { panic!() };
    assert_eq!((bumped.producer_epoch, bumped.previous_epoch), (4, 3));
    assert_eq!(bumped.init(Some((7, 3)), 9, NOW), Ok(Init::Repeat), "the answer was lost");
    assert_eq!(bumped.init(Some((7, 2)), 9, NOW), Err(Refused::Fenced));
    assert_eq!(bumped.init(Some((6, 4)), 9, NOW), Err(Refused::Fenced));
    assert_eq!(in_state(Ongoing).init(Some((7, 2)), 9, NOW), Err(Refused::Fenced), "a zombie ends nothing");
    assert_eq!(in_state(Ongoing).init(None, 9, NOW), Ok(Init::Abort(4)));
    // Ended against its will: the zombie cannot bump itself back in.
    let aborted = in_state(Ongoing).ended(4, false, NOW);
    assert_eq!(aborted.init(Some((7, 3)), 9, NOW), Err(Refused::Fenced));
    assert_eq!(aborted.end((7, 3), false, NOW), Err(Refused::Fenced));
}

#[test]
fn epochs_that_run_out_get_a_new_producer_id() {
    let last = Transaction { producer_epoch: i16::MAX - 1, ..in_state(Empty) };
    let who = Some((7, i16::MAX - 1));
    assert_eq!(last.init(None, 9, NOW), Ok(Init::Rotate));
    assert_eq!(last.init(who, 9, NOW), Ok(Init::Rotate));
    assert_eq!(last.init(Some((7, 5)), 9, NOW), Err(Refused::Fenced));
    let rotated = last.rotated(8, who, 9, NOW);
    assert_eq!((rotated.producer_id, rotated.producer_epoch, rotated.previous_producer_id), (8, 0, 7));
    assert_eq!(rotated.init(who, 9, NOW), Ok(Init::Repeat), "the answer was lost");
    assert_eq!(rotated.init(Some((7, 5)), 9, NOW), Err(Refused::Fenced));
    let fenced = Transaction { state: Ongoing, ..last }.ended(i16::MAX, false, NOW);
    assert_eq!(fenced.init(None, 9, NOW), Ok(Init::Rotate));
}

#[test]
fn time_ends_what_nobody_ends() {
    let one = in_state(Ongoing);
    assert!(!one.is_timed_out(61_000) && one.is_timed_out(61_001));
    assert!(!in_state(CompleteCommit).is_timed_out(i64::MAX));
    assert!(in_state(CompleteAbort).is_idle_since(1_001) && !in_state(CompleteAbort).is_idle_since(1_000));
    assert!(!one.is_idle_since(i64::MAX));
}

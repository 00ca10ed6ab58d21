//! Transactions over the log: what readers see, who is fenced, what a restart brings back.

use std::collections::BTreeSet;

use super::*;
use crate::batch::BatchView;
use crate::batch::check::Facts;
use crate::embedded::cuts::{Held, Span};
use crate::embedded::transactions::sweep_once;
use crate::transactions::{TransactionState, TransactionalProducer};

/// A producer with a transactional id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor {
    pub name: &'static str,
    pub id: i64,
    pub epoch: i16,
}

impl Actor {
    pub(super) async fn init(topics: &Topics, name: &'static str) -> Result<Self, TransactionError> {
        let (id, epoch) = topics.init_transactional_producer(name, 60_000, None).await?;
        Ok(Self { name, id, epoch })
    }

    pub(super) fn who(&self) -> TransactionalProducer<'static> {
        TransactionalProducer {
            transactional_id: self.name,
            producer_id: self.id,
            producer_epoch: self.epoch,
        }
    }

    pub(super) async fn add(&self, topics: &Topics, partitions: &[i32]) -> Result<(), TransactionError> {
        let partitions: BTreeSet<_> = partitions.iter().map(|p| at(*p)).collect();
        topics.add_partitions_to_transaction(self.who(), &partitions).await
    }

    pub(super) fn batch(&self, n: usize, sequence: i32) -> Bytes {
        let mut builder = BatchBuilder::new().producer(self.id, self.epoch, sequence).transactional();
        builder.push(1_000_000, Some(b"k"), Some(format!("{n:06}-x").as_bytes()), &[]);
        builder.build().expect("batch")
    }

    pub(super) async fn send(
        &self,
        topics: &Topics,
        partition: i32,
        n: usize,
        sequence: i32,
    ) -> Result<Appended, AppendError> {
        topics.append_transactional("t", partition, self.batch(n, sequence), self.name)?.await
    }

    pub(super) async fn end(&self, topics: &Topics, committed: bool) -> Result<(), TransactionError> {
        topics.end_transaction(self.who(), committed).await
    }
}

/// What a reader of committed records sees of a partition up to `end`.
pub(super) fn committed_until(topics: &Topics, partition: i32, end: i64) -> Vec<usize> {
    let partition = topics.partition("t", partition).expect("partition");
    let (mut from, mut all) = (partition.marks().log_start, Vec::new());
    while from < end {
        let read = partition.read(from, end, 700).expect("read");
        assert!(read.aborted.is_sorted_by_key(|a| a.first_offset), "by first offset: {:?}", read.aborted);
        for batch in Batches::new(&read.bytes) {
            let batch = batch.expect("batch");
            if batch.is_control() || read.is_aborted(&batch) {
                continue;
            }
            for record in &batch.records(1 << 20).expect("records") {
                let text = std::str::from_utf8(record.expect("record").value.expect("value")).expect("text");
                all.push(text[..6].parse().expect("number"));
            }
        }
        from = read.next;
    }
    all
}

fn committed(topics: &Topics, partition: i32) -> Vec<usize> {
    let stable = topics.partition("t", partition).expect("partition").marks().stable;
    committed_until(topics, partition, stable)
}

fn marks(topics: &Topics, partition: i32) -> (i64, i64) {
    let marks = topics.partition("t", partition).expect("partition").marks();
    (marks.stable, marks.durable)
}

#[test]
fn readers_of_committed_records_see_whole_transactions_or_nothing() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    bench.wait(async {
        let one = Actor::init(&topics, "one").await.expect("init");
        let two = Actor::init(&topics, "two").await.expect("init");
        one.add(&topics, &[0, 1]).await.expect("add");
        two.add(&topics, &[0]).await.expect("add");
        assert_eq!(one.send(&topics, 0, 1, 0).await.expect("send").base_offset, 0);
        assert_eq!(two.send(&topics, 0, 2, 0).await.expect("send").base_offset, 1);
        assert!(one.send(&topics, 0, 1, 0).await.expect("twin").duplicate);
        one.send(&topics, 1, 3, 0).await.expect("send");
        topics.append("t", 0, batch(4, 1, 1_000_000)).expect("plain").await.expect("plain");
        assert_eq!((marks(&topics, 0), marks(&topics, 1)), ((0, 3), (0, 1)));
        assert_eq!(committed(&topics, 0), [0usize; 0]);
        two.end(&topics, false).await.expect("abort");
        assert_eq!(marks(&topics, 0), (0, 4), "the first is still open");
        one.end(&topics, true).await.expect("commit");
        assert_eq!((marks(&topics, 0), marks(&topics, 1)), ((5, 5), (2, 2)));
        assert_eq!((committed(&topics, 0), committed(&topics, 1)), (vec![1, 4], vec![3]));
        // Asked again, the same; the opposite is refused.
        one.end(&topics, true).await.expect("again");
        assert!(matches!(one.end(&topics, false).await, Err(TransactionError::InvalidState { .. })));
    });
    let partition = topics.partition("t", 0).expect("partition");
    let aborted = partition.read(0, 5, 1 << 20).expect("read").aborted;
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset, aborted[0].stable), (1, 3, 0));
    let index = bench.segment_files(&topics, "txnindex");
    assert_eq!(std::fs::read(&index[0]).expect("index").len(), 34);
    // Markers are Kafka's.
    let read = partition.read(4, 5, 1).expect("read");
    let marker = BatchView::split_first(&mut read.bytes.clone()).expect("marker");
    assert_eq!((marker.size(), marker.attributes()), (78, 0x30));
}

#[test]
fn batches_that_fit_no_open_transaction_are_refused() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    bench.wait(async {
        let one = Actor::init(&topics, "one").await.expect("init");
        let invalid = |result: Result<Appended, AppendError>| {
            matches!(result, Err(AppendError::InvalidTransactionState(_)))
        };
        assert!(invalid(one.send(&topics, 0, 1, 0).await), "no transaction");
        one.add(&topics, &[0]).await.expect("add");
        assert!(invalid(one.send(&topics, 1, 1, 0).await), "the partition was not added");
        let bare = topics.append("t", 0, one.batch(1, 0));
        assert!(matches!(bare, Err(AppendError::InvalidTransactionState(_))), "no transactional id");
        one.send(&topics, 0, 1, 0).await.expect("send");
        let plain = topics.append("t", 0, sequenced(2, 1, 1_000_000, (one.id, one.epoch, 1)));
        assert!(matches!(plain, Err(AppendError::InvalidTransactionState(_))), "plain and transactional mix");
        let other = Actor { id: one.id + 1, ..one };
        assert!(matches!(other.send(&topics, 0, 1, 0).await, Err(AppendError::ProducerIdMapping { .. })));
        assert!(matches!(other.end(&topics, true).await, Err(TransactionError::ProducerIdMapping { .. })));
        let unknown = Actor { name: "nobody", ..one };
        assert!(matches!(unknown.send(&topics, 0, 1, 0).await, Err(AppendError::ProducerIdMapping { .. })));
        let missing = one.add(&topics, &[0, 7]).await;
        assert!(matches!(missing, Err(TransactionError::UnknownPartition { partition: 7, .. })));
        for timeout in [0, -1, 3_600_001] {
            let bad = topics.init_transactional_producer("x", timeout, None).await;
            assert!(matches!(bad, Err(TransactionError::InvalidTimeout { .. })), "{timeout}");
        }
        let nameless = topics.init_transactional_producer("", 1, None).await;
        assert!(matches!(nameless, Err(TransactionError::InvalidRequest(_))));
    });
}

#[test]
fn who_takes_over_fences_and_aborts() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    bench.wait(async {
        let zombie = Actor::init(&topics, "one").await.expect("init");
        zombie.add(&topics, &[0]).await.expect("add");
        zombie.send(&topics, 0, 1, 0).await.expect("send");
        let heir = Actor::init(&topics, "one").await.expect("take over");
        // The abort took an epoch of its own.
        assert_eq!((heir.id, heir.epoch), (zombie.id, zombie.epoch + 2));
        assert_eq!(marks(&topics, 0), (2, 2), "its transaction is aborted");
        heir.add(&topics, &[0]).await.expect("add");
        heir.send(&topics, 0, 2, 0).await.expect("send");
        let late = zombie.send(&topics, 0, 1, 1).await;
        assert!(matches!(late, Err(AppendError::ProducerFenced { .. })), "{late:?}");
        assert!(matches!(zombie.end(&topics, true).await, Err(TransactionError::Fenced { .. })));
        assert!(matches!(zombie.add(&topics, &[0]).await, Err(TransactionError::Fenced { .. })));
        let back = topics.init_transactional_producer("one", 60_000, Some((zombie.id, zombie.epoch))).await;
        assert!(matches!(back, Err(TransactionError::Fenced { .. })));
        heir.end(&topics, true).await.expect("commit");
        assert_eq!(committed(&topics, 0), [2]);
        // KIP-360: a producer bumps its own epoch, and hears the same when its answer was lost.
        let own = Some((heir.id, heir.epoch));
        for _ in 0..2 {
            let bumped = topics.init_transactional_producer("one", 60_000, own).await.expect("bump");
            assert_eq!(bumped, (heir.id, heir.epoch + 1));
        }
    });
}

#[test]
fn what_nobody_ends_times_out_and_what_nobody_uses_is_forgotten() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let one = bench.wait(async {
        let one = Actor::init(&topics, "one").await.expect("init");
        one.add(&topics, &[0]).await.expect("add");
        one.send(&topics, 0, 1, 0).await.expect("send");
        one
    });
    bench.clock.advance(60_000);
    sweep_once(topics.shared()).expect("sweep");
    assert_eq!(topics.transaction("one").expect("known").state, TransactionState::Ongoing);
    bench.clock.advance(1);
    sweep_once(topics.shared()).expect("sweep");
    let swept = topics.transaction("one").expect("known");
    assert_eq!((swept.state, swept.producer_epoch), (TransactionState::CompleteAbort, one.epoch + 1));
    bench.wait(async {
        assert!(matches!(one.end(&topics, true).await, Err(TransactionError::Fenced { .. })));
        let late = one.send(&topics, 0, 1, 1).await;
        assert!(matches!(late, Err(AppendError::ProducerFenced { .. })));
        topics.append("t", 0, batch(9, 1, 1_000_000)).expect("behind the marker").await.expect("append");
    });
    assert_eq!((marks(&topics, 0), committed(&topics, 0)), ((3, 3), vec![9]));
    bench.clock.advance(topics.settings().transactional_id_expiry.as_millis() as i64 + 1);
    sweep_once(topics.shared()).expect("sweep");
    assert_eq!(topics.transactions(), []);
    bench.close(topics);
    assert_eq!(bench.open().transactions(), [], "the tombstone is durable");
}

#[test]
fn restarts_bring_everything_back() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    let (one, two) = bench.wait(async {
        let one = Actor::init(&topics, "one").await.expect("init");
        let two = Actor::init(&topics, "two").await.expect("init");
        for n in 0..30 {
            one.add(&topics, &[0, 1]).await.expect("add");
            one.send(&topics, 0, n, n as i32).await.expect("send");
            one.send(&topics, 1, n, n as i32).await.expect("send");
            one.end(&topics, n % 3 != 0).await.expect("end");
        }
        two.add(&topics, &[0]).await.expect("add");
        two.send(&topics, 0, 900, 0).await.expect("send");
        one.add(&topics, &[0]).await.expect("add");
        one.send(&topics, 0, 31, 30).await.expect("send");
        one.end(&topics, false).await.expect("abort");
        (one, two)
    });
    let kept: Vec<usize> = (0..30).filter(|n| n % 3 != 0).collect();
    let seen = |topics: &Topics| {
        let aborted = |p| {
            let partition = topics.partition("t", p).expect("partition");
            partition.read(0, i64::MAX, 1 << 20).expect("read").aborted
        };
        let producers = |p| topics.partition("t", p).expect("partition").producers();
        (topics.transactions(), marks(topics, 0), aborted(0), aborted(1), producers(0), producers(1))
    };
    let before = seen(&topics);
    let files = |topics: &Topics| -> Vec<_> {
        bench.segment_files(topics, "txnindex").iter().map(|f| std::fs::read(f).expect("index")).collect()
    };
    let index = files(&topics);
    assert_eq!(index.concat().len(), 11 * 34);
    let check = |topics: &Topics| {
        assert_eq!(seen(topics), before);
        assert_eq!(committed(topics, 0), kept);
        assert_eq!(files(topics), index);
    };
    drop(topics);
    let topics = bench.open();
    check(&topics);
    bench.close(topics);
    let topics = bench.open();
    check(&topics);
    // Missing index files are made again.
    for file in bench.segment_files(&topics, "txnindex") {
        std::fs::remove_file(file).expect("remove");
    }
    drop(topics);
    let topics = bench.open();
    check(&topics);
    bench.wait(async {
        assert!(two.send(&topics, 0, 900, 0).await.expect("a retry").duplicate);
        two.end(&topics, true).await.expect("commit");
        one.end(&topics, false).await.expect("the answer was lost");
        assert!(one.end(&topics, true).await.is_err());
    });
    let with_two: Vec<usize> = kept.into_iter().chain([900]).collect();
    assert_eq!(committed(&topics, 0), with_two);
}

#[test]
fn a_cut_splits_neither_transactions_nor_atomic_appends() {
    let bench = Bench::new();
    let topics = bench.open();
    let info = create(&topics, 3);
    let cut = |topics: &Topics| {
        let cut = topics.cut();
        let marks = [0, 1, 2].map(|p| cut.stable(info.id, p));
        assert_eq!(marks, [0, 1, 2].map(|p| topics.partition("t", p).expect("partition").cut_mark()));
        marks
    };
    let slow = bench.wait(async {
        let slow = Actor::init(&topics, "slow").await.expect("init");
        let quick = Actor::init(&topics, "quick").await.expect("init");
        slow.add(&topics, &[0]).await.expect("add");
        slow.send(&topics, 0, 0, 0).await.expect("send");
        // A committed transaction over 0 and 1 lies behind the open one in 0: it waits in 1 too.
        quick.add(&topics, &[0, 1]).await.expect("add");
        quick.send(&topics, 0, 1, 0).await.expect("send");
        quick.send(&topics, 1, 1, 0).await.expect("send");
        quick.end(&topics, true).await.expect("commit");
        assert_eq!((marks(&topics, 1), cut(&topics)), ((2, 2), [0, 0, 0]));
        // An atomic append over 1 and 2 lies behind that.
        let writer = WriterId::new("w");
        let epoch = topics.claim_writer(&writer).await.expect("claim").epoch;
        let batches = vec![(at(1), batch(2, 1, 1_000_000)), (at(2), batch(2, 1, 1_000_000))];
        let append = AtomicAppend { writer, epoch, batches, progress: "1".into() };
        topics.append_atomically(append).await.expect("append");
        assert_eq!((marks(&topics, 2), cut(&topics)), ((1, 1), [0, 0, 0]));
        slow
    });
    drop(topics);
    let topics = bench.open();
    assert_eq!(cut(&topics), [0, 0, 0], "replayed");
    bench.close(topics);
    let topics = bench.open();
    assert_eq!(cut(&topics), [0, 0, 0], "from the checkpoint");
    let mut waiting = topics.partition("t", 2).expect("partition").watch_durable();
    waiting.mark_unchanged();
    bench.wait(slow.end(&topics, false)).expect("abort");
    assert_eq!(cut(&topics), [4, 3, 1]);
    assert!(waiting.has_changed().expect("alive"), "who waits for partition 2 is told");
}

#[test]
fn an_operator_ends_a_transaction_whole() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    bench.wait(async {
        let one = Actor::init(&topics, "one").await.expect("init");
        one.add(&topics, &[0, 1]).await.expect("add");
        one.send(&topics, 0, 1, 0).await.expect("send");
        one.send(&topics, 1, 1, 0).await.expect("send");
        let who = (one.id, one.epoch);
        let commit = topics.write_marker(&at(0), who, true).await;
        assert!(matches!(commit, Err(TransactionError::InvalidState { .. })));
        topics.write_marker(&at(0), who, false).await.expect("abort");
        assert_eq!((marks(&topics, 0), marks(&topics, 1)), ((2, 2), (2, 2)), "in all its partitions");
        assert!(matches!(one.end(&topics, true).await, Err(TransactionError::Fenced { .. })));
        topics.write_marker(&at(1), who, false).await.expect("nothing is open");
        let missing = topics.write_marker(&at(9), who, false).await;
        assert!(matches!(missing, Err(TransactionError::Append(AppendError::UnknownPartition { .. }))));
    });
}

#[test]
fn internal_topics_are_the_logs_own() {
    let bench = Bench::new();
    let topics = bench.open();
    let name = TRANSACTION_STATE;
    let new = NewTopic { name: name.into(), ..NewTopic::default() };
    assert!(matches!(topics.create(new.clone()), Err(TopicError::Internal(_))));
    bench.wait(Actor::init(&topics, "one")).expect("init");
    assert!(topics.topic(name).is_some_and(|t| t.is_internal() && t.config.is_compacted()));
    assert!(matches!(topics.create(new), Err(TopicError::Exists(_))));
    assert!(matches!(topics.delete(name), Err(TopicError::Internal(_))));
    assert!(matches!(topics.add_partitions(name, 2), Err(TopicError::Internal(_))));
    let change = [("redpanda.iceberg.mode".to_owned(), Some("key_value".to_owned()))];
    assert!(matches!(topics.alter_config(name, &change), Err(TopicError::Internal(_))));
    assert!(matches!(topics.append(name, 0, batch(0, 1, 0)), Err(AppendError::InternalTopic(_))));
}

#[test]
fn an_hour_old_transaction_does_not_fill_the_memory() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 3);
    let all = [0, 1, 2].map(|p| Arc::clone(&topics.shared().topic_and_partition("t", p).expect("p").1));
    all[0].settled.lock().producers.note(
        &Facts::of(&Actor { name: "x", id: 1, epoch: 0 }.batch(0, 0)),
        0,
        10,
    );
    let mut held = Held::default();
    for n in 1..30_000 {
        let mut span = Span::default();
        span.add(&all[0], n, n);
        span.add(&all[1 + n as usize % 2], n, n);
        held.note(span);
        all.iter().for_each(|p| p.move_stable(n + 1));
        if n % 5_000 == 0 {
            held.update(&all);
        }
    }
    held.update(&all);
    let parts: usize = held.points().iter().map(Vec::len).sum();
    assert!(parts <= 20_000, "{parts}");
    assert_eq!(all.each_ref().map(|p| p.cut_mark()), [0, 2, 1]);
}

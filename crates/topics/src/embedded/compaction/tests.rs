use super::*;

fn policy(ratio: f64, min_lag_ms: i64, max_lag_ms: i64) -> Policy {
    let config = crate::topic::TopicConfig::new(
        &[
            ("cleanup.policy", "compact".to_owned()),
            ("min.cleanable.dirty.ratio", ratio.to_string()),
            ("min.compaction.lag.ms", min_lag_ms.to_string()),
            ("max.compaction.lag.ms", max_lag_ms.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    );
    Policy::of(&config.expect("properties"))
}

/// Five segments of 100 bytes and 10 offsets, the last one active.
fn segments() -> Vec<SegmentFacts> {
    let one =
        |n: i64| SegmentFacts { base: n * 10, len: 100, begun_ms: n * 1000, written_ms: (n + 1) * 1000 };
    (0..5).map(one).collect()
}

#[test]
fn a_section_ends_where_something_still_has_to_wait() {
    let any = policy(0.0, 0, i64::MAX);
    let of = |cleaned, limit, policy: &Policy, now| section(&segments(), cleaned, limit, policy, now);
    let whole = of(0, i64::MAX, &any, 9_000).expect("section");
    assert_eq!((whole.dirty, whole.end, whole.ratio), (0, 40, 1.0), "the active segment stays");
    let half = of(20, i64::MAX, &any, 9_000).expect("section");
    assert_eq!((half.dirty, half.end, half.ratio), (20, 40, 0.5));
    assert_eq!(of(40, i64::MAX, &any, 9_000), None);
    // A table that has read up to 25, or a transaction that is open since there.
    assert_eq!(of(0, 25, &any, 9_000).map(|s| s.end), Some(20));
    assert_eq!(of(20, 25, &any, 9_000), None);
    let lag = policy(0.0, 5_000, i64::MAX);
    assert_eq!(of(0, i64::MAX, &lag, 7_500).map(|s| s.end), Some(20), "the third was written 4.5 s ago");
    // Inside a segment: a pass that met too many keys.
    assert_eq!(of(15, i64::MAX, &any, 9_000).map(|s| (s.dirty, s.ratio)), Some((15, 0.75)));
}

#[test]
fn a_section_is_due_when_it_is_dirty_or_old() {
    let of = |cleaned, policy: &Policy, now| {
        section(&segments(), cleaned, i64::MAX, policy, now).is_some_and(|s| s.is_due(policy))
    };
    assert!(of(0, &policy(0.9, 0, i64::MAX), 0));
    assert!(!of(20, &policy(0.5, 0, i64::MAX), 0));
    assert!(of(20, &policy(0.49, 0, i64::MAX), 0));
    assert!(!of(30, &policy(0.5, 0, 4_000), 7_000));
    assert!(of(30, &policy(0.5, 0, 4_000), 7_001), "its first record was written at 3 s");
}

#[test]
fn neighbours_are_grouped_up_to_the_size_of_a_segment() {
    let list = segments();
    let sizes = |limit| groups(&list, limit).map(<[_]>::len).collect::<Vec<_>>();
    assert_eq!(sizes(10), [1, 1, 1, 1, 1]);
    assert_eq!(sizes(250), [2, 2, 1]);
    assert_eq!(sizes(u64::MAX), [5]);
    let far = [list[0], SegmentFacts { base: i64::from(i32::MAX), ..list[1] }];
    assert_eq!(groups(&far, u64::MAX).count(), 2, "an index cannot tell offsets so far apart");
}

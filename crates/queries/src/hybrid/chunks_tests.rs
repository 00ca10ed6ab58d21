use arrow::array::{ArrayRef, Int64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::*;

fn batch(offsets: std::ops::Range<i64>) -> RecordBatch {
    let fields: Fields = vec![Field::new("offset", DataType::Int64, false)].into();
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(offsets));
    let meta: ArrayRef = Arc::new(StructArray::new(fields.clone(), vec![column], None));
    let schema = Schema::new(vec![Field::new("redpanda", DataType::Struct(fields), false)]);
    RecordBatch::try_new(Arc::new(schema), vec![meta]).unwrap()
}

fn key() -> ChunkKey {
    ChunkKey { topic: TopicId::random(), partition: 0, decoding: 0, kind: TailKind::Rows }
}

fn chunk(range: std::ops::Range<i64>) -> Chunk {
    let batches = vec![batch(range.clone())];
    Chunk { next: range.end, bytes: size_of(&batches), batches: Arc::new(batches), used: 0 }
}

#[test]
fn slices_hold_exactly_the_asked_offsets() {
    let batches = [batch(10..20), batch(25..30)];
    let rows = slice(&batches, 15, 27, 30).unwrap();
    let offsets: Vec<i64> = rows.batches.iter().flat_map(|b| offsets_of(b).unwrap().to_vec()).collect();
    assert_eq!(offsets, [15, 16, 17, 18, 19, 25, 26]);
    assert_eq!(rows.next, 27);
    assert!(slice(&batches, 20, 25, 30).unwrap().batches.is_empty(), "a gap has no rows");
}

#[test]
fn small_neighbours_become_one_chunk() {
    let mut kept = Kept::default();
    let key = key();
    for at in 0..50 {
        kept.keep(key, at * 2, chunk(at * 2..at * 2 + 2), usize::MAX);
    }
    assert_eq!(kept.chunks[&key].len(), 1);
    let Found::Chunk(found) = kept.find(&key, 63) else { panic!("offset 63 is kept") };
    assert_eq!(found.next, 100);
    let rows = slice(&found.batches, 0, 100, 100).unwrap();
    assert_eq!(rows.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
}

#[test]
fn the_budget_holds_and_the_oldest_goes_first() {
    let mut kept = Kept::default();
    let key = key();
    let one = chunk(0..1000).bytes;
    for at in 0..10 {
        // Not adjacent, so not merged.
        kept.keep(key, at * 2000, chunk(at * 2000..at * 2000 + 1000), one * 3);
        assert!(kept.bytes <= one * 3);
    }
    assert!(matches!(kept.find(&key, 0), Found::Gap(Some(14_000))), "the oldest are gone");
    assert!(matches!(kept.find(&key, 18_500), Found::Chunk(_)));
    let total: usize = kept.chunks.values().flat_map(BTreeMap::values).map(|c| c.bytes).sum();
    assert_eq!(total, kept.bytes);
    kept.keep(key, 100_000, chunk(100_000..200_000), one * 3);
    assert!(matches!(kept.find(&key, 100_000), Found::Gap(None)), "what never fits is not kept");
}

#[test]
fn overlapping_chunks_are_not_kept_twice() {
    let mut kept = Kept::default();
    let key = key();
    kept.keep(key, 10, chunk(10..20), usize::MAX);
    kept.keep(key, 10, chunk(10..20), usize::MAX);
    kept.keep(key, 15, chunk(15..25), usize::MAX);
    kept.keep(key, 5, chunk(5..12), usize::MAX);
    assert_eq!(kept.chunks[&key].len(), 1);
    assert!(matches!(kept.find(&key, 5), Found::Gap(Some(10))));
}

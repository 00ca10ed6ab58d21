use super::check::{CheckedBatch, Facts, Origin, Rules};
use super::*;
use crate::error::AppendError;

const LIMIT: usize = 1 << 20;

pub(crate) fn rules() -> Rules {
    Rules {
        message_bytes_max: 1 << 20,
        decompressed_bytes_max: LIMIT,
        key_required: false,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
    }
}

fn check(topic: &str, batch: &Bytes, rules: &Rules, now_ms: i64) -> Result<CheckedBatch, AppendError> {
    check::check(topic, batch, rules, now_ms, Origin::Client)
}

fn sample(codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new().compression(codec);
    builder.push(
        1_000,
        Some(b"k1"),
        Some(b"hello"),
        &[(b"h", Some(b"1")), (b"h", None), (b"\xff", Some(b""))],
    );
    builder.push(3_000, None, Some(&[7u8; 700]), &[]);
    builder.push(500, Some(b""), None, &[]);
    builder.build().expect("batch")
}

/// Puts other record bytes under the header of `batch` and makes the CRC right.
fn with_payload(batch: &Bytes, codec_bits: i16, payload: &[u8]) -> Bytes {
    let mut bytes = batch[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(payload);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[21..23].copy_from_slice(&codec_bits.to_be_bytes());
    fix_crc(&mut bytes);
    bytes.into()
}

fn fix_crc(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn assert_sample(batch: &Bytes) {
    let view = BatchView::split_first(&mut batch.clone()).expect("view");
    assert!(view.crc_is_right());
    assert_eq!((view.count(), view.max_timestamp_ms()), (3, 3_000));
    let records = view.records(LIMIT).expect("records");
    let all: Vec<_> = records.iter().collect::<Result<_, _>>().expect("walk");
    assert_eq!(
        all.iter().map(|r| (r.offset, r.timestamp_ms)).collect::<Vec<_>>(),
        [(0, 1_000), (1, 3_000), (2, 500)]
    );
    assert_eq!((all[0].key, all[0].value), (Some(&b"k1"[..]), Some(&b"hello"[..])));
    assert_eq!((all[1].key, all[1].value.map(<[u8]>::len)), (None, Some(700)));
    assert_eq!((all[2].key, all[2].value), (Some(&b""[..]), None));
    let headers: Vec<_> = all[0].headers.iter().collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (b"h", None), (b"\xff", Some(b""))]);
    assert_eq!((all[0].headers.len(), all[1].headers.is_empty()), (3, true));
}

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[test]
fn every_codec_round_trips() {
    for codec in CODECS {
        let batch = sample(codec);
        assert_sample(&batch);
        assert!(check("t", &batch, &rules(), 0).is_ok(), "{codec:?}");
    }
}

#[test]
fn snappy_as_java_frames_it_is_read() {
    let plain = sample(Compression::None);
    let mut payload = vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
    for block in plain[HEADER_BYTES..].chunks(300) {
        let packed = snap::raw::Encoder::new().compress_vec(block).expect("snappy");
        payload.extend_from_slice(&(packed.len() as i32).to_be_bytes());
        payload.extend_from_slice(&packed);
    }
    assert_sample(&with_payload(&plain, 2, &payload));
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0u8; 8 << 20];
    for codec in CODECS {
        let packed = codec.compress(&zeros).expect("compress");
        let batch = with_payload(&sample(Compression::None), codec.bits(), &packed);
        let view = BatchView::split_first(&mut batch.clone()).expect("view");
        assert_eq!(view.records(LIMIT).err(), Some(BatchError::TooLarge(LIMIT)), "{codec:?}");
    }
    // A block of four bytes that claims a million is refused before a million is allocated.
    let claim = with_payload(&sample(Compression::None), 2, &[0x80, 0x80, 0x20, 0]);
    let view = BatchView::split_first(&mut claim.clone()).expect("view");
    assert!(matches!(view.records(LIMIT), Err(BatchError::Corrupt(_))));
}

fn refused(change: impl FnOnce(&mut Vec<u8>)) -> AppendError {
    let mut bytes = sample(Compression::None).to_vec();
    change(&mut bytes);
    check("t", &bytes.into(), &rules(), 0).expect_err("must be refused")
}

#[test]
fn bad_batches_are_refused_by_name() {
    let with_crc = |at: usize, to: &[u8]| {
        refused(|b| {
            b[at..at + to.len()].copy_from_slice(to);
            fix_crc(b);
        })
    };
    assert!(matches!(refused(|b| b[100] ^= 1), AppendError::CorruptBatch(r) if r.contains("CRC")));
    assert!(matches!(refused(|b| b[16] = 1), AppendError::UnsupportedMagic(1)));
    assert!(matches!(refused(|b| b.truncate(40)), AppendError::CorruptBatch(_)));
    assert!(matches!(refused(|b| b.truncate(0)), AppendError::CorruptBatch(_)));
    assert!(
        matches!(refused(|b| b.extend_from_within(..)), AppendError::CorruptBatch(r) if r.contains("one batch"))
    );
    assert!(
        matches!(with_crc(57, &9i32.to_be_bytes()), AppendError::CorruptBatch(r) if r.contains("do not fit"))
    );
    assert!(
        matches!(with_crc(21, &0x20i16.to_be_bytes()), AppendError::CorruptBatch(r) if r.contains("control"))
    );
    assert!(
        matches!(with_crc(21, &0x10i16.to_be_bytes()), AppendError::CorruptBatch(r) if r.contains("transact"))
    );
    assert!(
        matches!(with_crc(21, &7i16.to_be_bytes()), AppendError::CorruptBatch(r) if r.contains("codec 7"))
    );
    assert!(
        matches!(with_crc(43, &5i64.to_be_bytes()), AppendError::CorruptBatch(r) if r.contains("producer 5"))
    );
    let small = Rules { message_bytes_max: 100, ..rules() };
    assert!(matches!(
        check("t", &sample(Compression::None), &small, 0),
        Err(AppendError::TooLarge { max: 100, .. })
    ));
    let keyed = Rules { key_required: true, ..rules() };
    assert!(matches!(check("t", &sample(Compression::Lz4), &keyed, 0), Err(AppendError::KeysMissing(_))));
    let recent = Rules { before_max_ms: 1_000, ..rules() };
    assert!(matches!(
        check("t", &sample(Compression::Zstd), &recent, 2_000),
        Err(AppendError::InvalidTimestamp(500))
    ));
    let past = Rules { after_max_ms: 100, ..rules() };
    assert!(matches!(
        check("t", &sample(Compression::Zstd), &past, 1_000),
        Err(AppendError::InvalidTimestamp(3_000))
    ));
}

fn whole(checked: &CheckedBatch) -> Bytes {
    [&checked.header()[..], checked.body()].concat().into()
}

#[test]
fn patching_keeps_the_crc_right() {
    let mut plain = check("t", &sample(Compression::Zstd), &rules(), 0).expect("check");
    plain.place(1 << 40, 7);
    let view = BatchView::split_first(&mut whole(&plain)).expect("view");
    assert!(view.crc_is_right());
    assert_eq!((view.base_offset(), view.leader_epoch(), view.last_offset()), (1 << 40, 7, (1 << 40) + 2));
    assert_eq!(view.content_hash(), {
        BatchView::split_first(&mut sample(Compression::Zstd)).expect("view").content_hash()
    });

    let stamped = check("t", &sample(Compression::Gzip), &Rules { log_append_time: true, ..rules() }, 77)
        .expect("check");
    let view = BatchView::split_first(&mut whole(&stamped)).expect("view");
    assert!(view.crc_is_right());
    let records = view.records(LIMIT).expect("records");
    assert!(records.iter().all(|r| r.is_ok_and(|r| (r.timestamp_ms, r.timestamp_type) == (77, 1))));
}

#[test]
fn a_wrong_largest_timestamp_is_corrected() {
    let mut lie = sample(Compression::None).to_vec();
    lie[35..43].copy_from_slice(&9_999i64.to_be_bytes());
    fix_crc(&mut lie);
    let checked = check("t", &lie.into(), &rules(), 0).expect("check");
    assert_eq!(checked.facts().max_timestamp_ms, 3_000);
    assert_sample(&whole(&checked));
}

/// A small generator of pseudo-random numbers (xorshift64*), so that failures repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut dice = Dice(42);
    let samples: Vec<Bytes> = CODECS.iter().map(|c| sample(*c)).collect();
    let mut taken = 0;
    for round in 0..20_000 {
        let mut bytes = samples[round % samples.len()].to_vec();
        for _ in 0..1 + dice.roll(4) {
            let at = dice.roll(bytes.len());
            bytes[at] = [0, 0xff, 0x7f, 0x80, dice.roll(256) as u8][dice.roll(5)];
        }
        if dice.roll(4) == 0 {
            bytes.truncate(dice.roll(bytes.len() + 1));
        }
        if bytes.len() > HEADER_BYTES {
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            fix_crc(&mut bytes);
        }
        let bytes = Bytes::from(bytes);
        for batch in Batches::new(&bytes).flatten() {
            if let Ok(records) = batch.records(LIMIT) {
                for record in records.iter().flatten() {
                    assert!(record.headers.iter().count() == record.headers.len());
                }
            }
            batch.content_hash();
        }
        taken += usize::from(check("t", &bytes, &rules(), 0).is_ok());
    }
    assert!(taken > 0, "some mutations do no harm");
}

#[test]
fn sequences_wrap() {
    assert_eq!(add_sequence(i32::MAX, 1), 0);
    assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(add_sequence(5, 4), 9);
}

#[test]
fn transactional_batches_need_a_producer_and_markers_are_not_for_clients() {
    let build = |builder: BatchBuilder| {
        let mut builder = builder;
        builder.push(1, Some(b"k"), None, &[]);
        builder.build().expect("batch")
    };
    let good = build(BatchBuilder::new().producer(5, 0, 0).transactional());
    let facts = check("t", &good, &rules(), 0).expect("transactional").facts();
    assert!(facts.transactional && facts.marker.is_none());
    let nobody = build(BatchBuilder::new().transactional());
    assert!(matches!(check("t", &nobody, &rules(), 0), Err(AppendError::CorruptBatch(_))));
    let unsequenced = build(BatchBuilder::new().producer(5, 0, -1).transactional());
    assert!(matches!(check("t", &unsequenced, &rules(), 0), Err(AppendError::CorruptBatch(_))));
    let inside = check::check("t", &unsequenced, &rules(), 0, Origin::Coordinator);
    assert!(inside.is_ok(), "the coordinator's batches bear no sequence");
    let marker = Marker { committed: true, coordinator_epoch: 0 }.batch(5, 0, 1).expect("marker");
    assert!(matches!(check("t", &marker, &rules(), 0), Err(AppendError::CorruptBatch(_))));
    assert!(Facts::of(&marker).marker.is_some_and(|m| m.committed));
}

//! The demonstration passes, and its result depends on the seed alone.

use frazil::demo::{Settings, run};
use frazil::progress::Progress;
use frazil::remote::Remote;

use crate::{Temporary, start};

type Published = Vec<(Option<bytes::Bytes>, Option<bytes::Bytes>)>;

async fn published(settings: Settings) -> Published {
    let place = Temporary::new();
    let node = start(&place.data()).await;
    let report = run(&Remote::of(node.endpoints()), settings, &Progress::quiet()).await.expect("demo passes");
    node.stop().await.expect("node stops");
    report.published
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_analytics() {
    let first = published(Settings { rows: 3_000, seed: 42 }).await;
    let second = published(Settings { rows: 3_000, seed: 42 }).await;
    assert_eq!(first.len(), 8);
    assert_eq!(first, second, "byte for byte");
    let symbols: Vec<_> = first
        .iter()
        .map(|(_, value)| {
            let value = value.as_deref().expect("a value");
            let row: serde_json::Value = serde_json::from_slice(value).expect("JSON");
            row["symbol"].as_str().expect("symbol").to_owned()
        })
        .collect();
    assert!(symbols.is_sorted(), "{symbols:?}");
    let other = published(Settings { rows: 3_000, seed: 43 }).await;
    assert_ne!(first, other);
}

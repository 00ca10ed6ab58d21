//! A Kafka frame without its length: header, shape, then the codec. What the shape walker accepts the codec must read
//! without growing beyond what its bytes are worth.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/gateway/src/kafka"]
mod kafka {
    #[expect(dead_code, reason = "the door reads lengths")]
    mod frame;
    mod shape;
    #[expect(dead_code, reason = "the door tells what it serves")]
    mod versions;

    use bytes::Bytes;
    use kafka_protocol::messages::ApiKey;
    use kafka_protocol::messages::RequestKind;

    /// What the door does with a frame before a handler sees it.
    pub(crate) fn take(bytes: Bytes) {
        if let Ok(frame::Parsed::Request { header, mut body, .. }) = frame::parse(bytes) {
            let key = ApiKey::try_from(header.served.api as i16).expect("the codec knows what is served");
            let _ = RequestKind::decode(key, &mut body, header.version);
        }
    }

    /// One request of each kind and version, as the codec writes it.
    pub(crate) fn seeds() -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for served in &versions::SERVED {
            for version in served.usable_min..=served.max {
                let mut head = Vec::new();
                head.extend((served.api as i16).to_be_bytes());
                head.extend(version.to_be_bytes());
                head.extend(7i32.to_be_bytes());
                head.extend(4i16.to_be_bytes());
                head.extend(b"fuzz");
                if served.is_flexible(version) {
                    head.push(0);
                }
                // An empty request, one of plausible small numbers, and one of long ones.
                all.push([&head[..], &[0; 64]].concat());
                all.push([&head[..], &[1; 200]].concat());
                let counts = [0u8, 0, 0, 1, 0, 2, b't', b'o'];
                all.push([&head[..], &counts.repeat(20)].concat());
            }
        }
        all
    }
}

fuzz_target!(
    init: frazil_fuzz::write_seeds(kafka::seeds()),
    |data: &[u8]| kafka::take(Bytes::copy_from_slice(data))
);

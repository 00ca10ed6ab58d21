//! The one thing the coordinator reads in a consumer's protocol metadata: which topics it subscribes to.
//!
//! Owns: the head of ConsumerProtocolSubscription, which is the same in all its versions.
//! Does not own: everything behind it.

use std::collections::BTreeSet;

use super::wire::Reader;

/// The protocol type of consumers; other types (Connect, Schema Registry) have metadata of their own.
pub(crate) const CONSUMER: &str = "consumer";

/// Adds the topics of a subscription to `topics`; `None` when the bytes are no subscription.
pub(crate) fn add_topics(metadata: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    let mut read = Reader::new(metadata);
    if read.i16()? < 0 {
        return None;
    }
    topics.extend(read.list(Reader::string)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_nonsense_is_not() {
        let mut topics = BTreeSet::new();
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(add_topics(bytes, &mut topics), Some(()));
        assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(add_topics(b"range", &mut BTreeSet::new()), None);
        assert_eq!(add_topics(b"", &mut BTreeSet::new()), None);
    }
}

//! Topic properties before there is a topic: what `validate` and `up` look at.

use std::collections::BTreeMap;

use base::TopicId;
use topics::{TopicConfig, TopicInfo};

/// Whether a topic could have these properties; the error names property, value and cure.
pub(crate) fn check(name: &str, config: &BTreeMap<String, String>) -> Result<(), String> {
    let Ok(name) = base::TopicName::new(name) else {
        // A bad name is a problem of its own.
        return Ok(());
    };
    let config = TopicConfig::new(config).map_err(|e| e.to_string())?;
    let info = TopicInfo { id: TopicId(uuid::Uuid::nil()), name, partitions: 1, created_ms: 0, config };
    queries::mode::IcebergTopic::of(&info).map(|_| ())
}

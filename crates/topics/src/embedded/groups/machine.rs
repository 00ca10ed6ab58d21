//! A group's machine: classic, or of the consumer protocol.
//!
//! Owns: what both kinds can be asked.
//! Does not own: either kind (`crate::groups`).

use super::*;
use crate::groups::classic::State as ClassicState;
use crate::groups::consumer::ConsumerGroup;
use crate::groups::consumer::records::forget_group;
use crate::groups::subscription::CONSUMER;

/// See the module.
#[derive(Debug)]
pub(super) enum Machine {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

impl Machine {
    pub(super) fn classic(&mut self) -> Option<&mut ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    /// Neither members nor anybody who was told to join.
    pub(super) fn is_deserted(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_deserted(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    pub(super) fn has_members(&self) -> bool {
        match self {
            Self::Classic(group) => group.state() != ClassicState::Empty,
            Self::Consumer(group) => !group.is_empty(),
        }
    }

    pub(super) fn wake(&self) -> Option<i64> {
        match self {
            Self::Classic(group) => group.wake(),
            Self::Consumer(group) => group.wake(),
        }
    }

    pub(super) fn listing(&self, name: &str) -> GroupListing {
        let (protocol_type, state, kind) = match self {
            Self::Classic(group) => {
                (group.protocol_type().unwrap_or_default(), group.state().name(), "classic")
            }
            Self::Consumer(group) => (CONSUMER, group.state_name(), "consumer"),
        };
        GroupListing { group: name.to_owned(), protocol_type: protocol_type.to_owned(), state, kind }
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        match self {
            Self::Classic(group) => group.uses_consumer_protocol(),
            Self::Consumer(_) => true,
        }
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to(topic),
            Self::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    /// When the last member left, ms since 1970 UTC, as far as offsets are kept from then on.
    pub(super) fn deserted_since_ms(&self) -> Option<i64> {
        match self {
            Self::Classic(group) => {
                Some(group.state_since_ms()).filter(|ms| *ms >= 0 && group.protocol_type().is_some())
            }
            Self::Consumer(_) => None,
        }
    }

    /// Whether offsets may be stored by who calls itself so.
    pub(super) fn validate_commit(
        &self,
        request: &CommitOffsets,
        in_transaction: bool,
    ) -> Result<(), GroupError> {
        let who = &request.identity;
        match self {
            Self::Classic(group) => group.validate_commit(who, in_transaction),
            Self::Consumer(group) => group.validate_commit(who, in_transaction, request.knows_epochs),
        }
    }

    /// Whether offsets may be fetched by who calls itself so.
    pub(super) fn validate_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        match self {
            Self::Classic(_) => Ok(()),
            Self::Consumer(group) => group.validate_fetch(member, epoch),
        }
    }

    /// What ends the group in the log, once it has no members.
    pub(super) fn tombstones(&self, name: &str) -> Vec<KeyValue> {
        match self {
            Self::Classic(_) => vec![(Key::Group { group: name.to_owned() }.encode(), None)],
            Self::Consumer(_) => forget_group(name).into(),
        }
    }
}

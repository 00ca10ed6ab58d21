//! What `server.kafka` says about consumer groups.
//!
//! Owns: Kafka's names of these settings, what they may be.
//! Does not own: their defaults and meaning (topics).

use std::time::Duration;

use ::topics::GroupSettings;

use super::reader::Block;

/// Settings of the group coordinator; none keeps the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupBlock {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: Option<i32>,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: Option<i32>,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: Option<i32>,
    /// `group.max.size`.
    pub members_max: Option<i32>,
    /// `offsets.retention.minutes`.
    pub offsets_retention_minutes: Option<i32>,
}

const INITIAL_DELAY: &str = "group.initial.rebalance.delay.ms";
const SESSION_MIN: &str = "group.min.session.timeout.ms";
const SESSION_MAX: &str = "group.max.session.timeout.ms";
const SIZE_MAX: &str = "group.max.size";
const OFFSETS_RETENTION: &str = "offsets.retention.minutes";

impl GroupBlock {
    /// Takes this block's keys; the limits on sessions must fit each other, defaults included.
    pub(super) fn read(&mut self, block: &mut Block<'_>) {
        for (name, least, slot) in [
            (INITIAL_DELAY, 0, &mut self.initial_rebalance_delay_ms),
            (SESSION_MIN, 1, &mut self.session_timeout_min_ms),
            (SESSION_MAX, 1, &mut self.session_timeout_max_ms),
            (SIZE_MAX, 1, &mut self.members_max),
            (OFFSETS_RETENTION, 1, &mut self.offsets_retention_minutes),
        ] {
            *slot = block.number(name, least).or(*slot);
        }
        let mut settings = GroupSettings::default();
        self.apply(&mut settings);
        let (min, max) = (settings.session_timeout_min, settings.session_timeout_max);
        if min > max {
            let reason = format!(
                "{} is more than {SESSION_MAX}, {}: no member could join; lower the one or raise the other",
                min.as_millis(),
                max.as_millis()
            );
            block.problem(SESSION_MIN, reason);
        }
    }

    /// The coordinator's settings with what this block says.
    pub(super) fn apply(&self, settings: &mut GroupSettings) {
        let ms = |ms: i32| Duration::from_millis(ms.unsigned_abs().into());
        if let Some(delay) = self.initial_rebalance_delay_ms {
            settings.initial_rebalance_delay = ms(delay);
        }
        if let Some(min) = self.session_timeout_min_ms {
            settings.session_timeout_min = ms(min);
        }
        if let Some(max) = self.session_timeout_max_ms {
            settings.session_timeout_max = ms(max);
        }
        if let Some(max) = self.members_max {
            settings.members_max = usize::try_from(max).unwrap_or(settings.members_max);
        }
        if let Some(minutes) = self.offsets_retention_minutes {
            settings.offsets_retention = Duration::from_secs(60 * u64::from(minutes.unsigned_abs()));
        }
    }
}

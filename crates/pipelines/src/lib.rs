//! Everything that moves data without being asked, and the commands that span nouns.
//!
//! Owns: materialize (topic → table), publish (query → topic), upkeep of tables, definitions of pipelines, use cases such
//! as "create a topic that is a table".
//! Does not own: listening sockets; how rows are decoded (queries/rows) or committed (tables/commit).
//! Invariants: progress is stored with its effect; every duty has one owner task.

mod backoff;
pub mod commands;
mod duties;
pub mod materialize;
pub mod publish;
mod replay;
pub mod settings;
pub mod spec;
pub mod status;
pub mod upkeep;
mod verify;

pub use commands::{CommandError, Commands};
pub use materialize::{BACKFILL, DEAD_LETTERS, DROPPED, DROPPED_OFFSETS, SKIPPED};
pub use replay::{PartitionReplay, Reason, ReplayReport};
pub use settings::Settings;
pub use spec::{OnError, PipelineSpec, PublishMode, SpecError, Target, Trigger};
pub use status::{
    NodeStatus, PartitionStatus, PipelineStatus, TableStatus, TableUpkeepStatus, TopicStatus, UpkeepStatus,
};
pub use upkeep::UpkeepSettings;
pub use upkeep::action::{Kind, RefAnswer, RollbackTarget, TableAction, TableAnswer};
pub use verify::VerifyReport;

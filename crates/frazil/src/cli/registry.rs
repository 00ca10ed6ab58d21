//! Flags of `frazil registry`.
//!
//! Owns: names, flags and help; the spelling is rpk's.
//! Does not own: what the commands do (`commands::registry`).

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::OutputArgs;

#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Schemas: create, get, list, check-compatibility, references, delete
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Subjects: list, delete
    #[command(subcommand)]
    Subject(SubjectCommand),
    /// Which schemas may follow each other: get, set, reset
    #[command(subcommand, visible_alias = "config")]
    CompatibilityLevel(LevelCommand),
    /// Whether subjects may be changed: get, set, reset
    #[command(subcommand)]
    Mode(ModeCommand),
    /// Contexts: list, delete
    #[command(subcommand)]
    Context(ContextCommand),
}

/// Kind of schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    Avro,
    Json,
    #[value(alias = "proto")]
    Protobuf,
}

/// A schema in a file.
#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    /// The subject; `:.context:subject` in another context
    pub subject: String,
    /// File with the schema, - for standard input
    #[arg(long, value_name = "FILE")]
    pub schema: PathBuf,
    /// Kind of schema; from the file's ending when left out: .avsc, .json, .proto
    #[arg(long, value_enum)]
    pub r#type: Option<SchemaKind>,
    /// Another schema that it refers to; may be given several times
    #[arg(long, value_name = "NAME:SUBJECT:VERSION")]
    pub references: Vec<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Register a schema
    #[command(
        visible_alias = "register",
        after_help = "Examples:
  frazil registry schema create trades-value --schema trade.avsc
  frazil registry schema create orders-value --schema order.proto --references money.proto:money:1"
    )]
    Create(SchemaArgs),
    /// Check whether a schema could be registered; exits with 1 when not
    #[command(
        visible_alias = "check",
        after_help = "Examples:
  frazil registry schema check-compatibility trades-value --schema trade.avsc
  frazil registry schema check-compatibility trades-value --schema trade.avsc --schema-version 3"
    )]
    CheckCompatibility {
        #[command(flatten)]
        schema: SchemaArgs,
        /// Check against this version only: a number or `latest`
        #[arg(long, value_name = "VERSION")]
        schema_version: Option<String>,
    },
    /// Show a schema
    #[command(after_help = "Examples:
  frazil registry schema get trades-value
  frazil registry schema get trades-value --schema-version 2 --print-schema
  frazil registry schema get --id 7")]
    Get {
        /// The subject
        #[arg(required_unless_present = "id", conflicts_with = "id")]
        subject: Option<String>,
        /// A number or `latest`
        #[arg(long, value_name = "VERSION", default_value = "latest")]
        schema_version: String,
        /// By id
        #[arg(long)]
        id: Option<i32>,
        /// Print the schema's text alone
        #[arg(long)]
        print_schema: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List versions
    #[command(
        visible_alias = "ls",
        after_help = "Examples:
  frazil registry schema list
  frazil registry schema list trades- --deleted -o json"
    )]
    List {
        /// Only subjects that begin so
        prefix: Option<String>,
        /// Soft-deleted ones, too
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the schemas that refer to a version
    #[command(after_help = "Example:\n  frazil registry schema references money --schema-version 1")]
    References {
        /// The subject
        subject: String,
        /// A number or `latest`
        #[arg(long, value_name = "VERSION", default_value = "latest")]
        schema_version: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete a version: softly, and when that was done for good
    #[command(
        visible_alias = "rm",
        after_help = "Example:
  frazil registry schema delete trades-value --schema-version 1
  frazil registry schema delete trades-value --schema-version 1 --permanent"
    )]
    Delete {
        /// The subject
        subject: String,
        /// A number or `latest`
        #[arg(long, value_name = "VERSION")]
        schema_version: String,
        /// For good
        #[arg(long)]
        permanent: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum SubjectCommand {
    /// List subjects
    #[command(visible_alias = "ls", after_help = "Example:\n  frazil registry subject list --deleted")]
    List {
        /// Soft-deleted ones, too
        #[arg(long)]
        deleted: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete subjects: softly, and when that was done for good
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  frazil registry subject delete trades-value --permanent"
    )]
    Delete {
        /// The subjects
        #[arg(required = true)]
        subjects: Vec<String>,
        /// For good
        #[arg(long)]
        permanent: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum LevelCommand {
    /// Show what holds for subjects, or for all
    #[command(after_help = "Examples:
  frazil registry compatibility-level get
  frazil registry compatibility-level get trades-value -o json")]
    Get {
        /// The subjects; the whole registry when left out
        subjects: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Set the level
    #[command(after_help = "Examples:
  frazil registry compatibility-level set --level FULL
  frazil registry compatibility-level set trades-value --level NONE")]
    Set {
        /// The subjects; the whole registry when left out
        subjects: Vec<String>,
        /// NONE, BACKWARD, FORWARD, FULL, BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE or FULL_TRANSITIVE
        #[arg(long)]
        level: String,
    },
    /// Take back what was set
    #[command(after_help = "Example:\n  frazil registry compatibility-level reset trades-value")]
    Reset {
        /// The subjects; the whole registry when left out
        subjects: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ModeCommand {
    /// Show the mode of subjects, or of all
    #[command(after_help = "Example:\n  frazil registry mode get trades-value")]
    Get {
        /// The subjects; the whole registry when left out
        subjects: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Set the mode
    #[command(after_help = "Examples:
  frazil registry mode set --mode READONLY
  frazil registry mode set trades-value --mode IMPORT --force")]
    Set {
        /// The subjects; the whole registry when left out
        subjects: Vec<String>,
        /// READWRITE, READONLY, READONLY_OVERRIDE or IMPORT
        #[arg(long)]
        mode: String,
        /// IMPORT although there are schemas already
        #[arg(long)]
        force: bool,
    },
    /// Take back the mode
    #[command(after_help = "Example:\n  frazil registry mode reset trades-value")]
    Reset {
        /// The subjects; the whole registry when left out
        subjects: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts
    #[command(visible_alias = "ls", after_help = "Example:\n  frazil registry context list")]
    List(OutputArgs),
    /// Forget empty contexts
    #[command(visible_alias = "rm", after_help = "Example:\n  frazil registry context delete .dev")]
    Delete {
        /// The contexts
        #[arg(required = true)]
        contexts: Vec<String>,
    },
}

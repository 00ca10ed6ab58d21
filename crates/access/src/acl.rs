//! ACL bindings and the filters that find them, in Kafka's terms (KIP-11, KIP-290).
//!
//! Owns: resource kinds, operations and permissions with Kafka's numbers, what a valid binding is, how a filter matches.
//! Does not own: decisions (`authorizer`), keeping bindings (`store`).

use serde::{Deserialize, Serialize};

/// Longest name of a resource, principal or host, bytes.
pub const NAME_BYTES_MAX: usize = 1_000;
/// Stands for every resource of a kind.
pub const WILDCARD: &str = "*";
/// The one resource of the kind [`ResourceKind::Cluster`].
pub const CLUSTER: &str = "kafka-cluster";

/// Declares an enum with Kafka's numbers.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant = $code),+ }

        impl $name {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Kafka's number of it.
            pub fn code(self) -> i8 {
                self as i8
            }

            /// What Kafka numbers so; none for its UNKNOWN, ANY and what this version does not know.
            pub fn from_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }
        }
    };
}

numbered! {
    /// What can be accessed (ResourceType).
    ResourceKind { Topic = 2, Group = 3, Cluster = 4, TransactionalId = 5, DelegationToken = 6, User = 7 }
}

numbered! {
    /// How a binding names resources (PatternType).
    Pattern {
        /// The one of that name, or all for `*`.
        Literal = 3,
        /// All whose names begin so.
        Prefixed = 4,
    }
}

numbered! {
    /// What can be done (AclOperation).
    Operation {
        /// Stands for every operation in a binding.
        All = 2,
        Read = 3,
        Write = 4,
        Create = 5,
        Delete = 6,
        Alter = 7,
        Describe = 8,
        ClusterAction = 9,
        DescribeConfigs = 10,
        AlterConfigs = 11,
        IdempotentWrite = 12,
        CreateTokens = 13,
        DescribeTokens = 14,
        TwoPhaseCommit = 15,
    }
}

numbered! {
    /// What a binding says about it (AclPermissionType).
    Permission { Deny = 2, Allow = 3 }
}

impl ResourceKind {
    /// The operations that a binding on it can name, beside all (AclEntry.supportedOperations).
    pub fn operations(self) -> &'static [Operation] {
        use Operation as O;
        match self {
            Self::Topic => &[
                O::Read,
                O::Write,
                O::Create,
                O::Describe,
                O::Delete,
                O::Alter,
                O::DescribeConfigs,
                O::AlterConfigs,
            ],
            Self::Group => &[O::Read, O::Describe, O::Delete, O::DescribeConfigs, O::AlterConfigs],
            Self::Cluster => &[
                O::Create,
                O::ClusterAction,
                O::DescribeConfigs,
                O::AlterConfigs,
                O::IdempotentWrite,
                O::Alter,
                O::Describe,
            ],
            Self::TransactionalId => &[O::Describe, O::Write, O::TwoPhaseCommit],
            Self::DelegationToken => &[O::Describe],
            Self::User => &[O::CreateTokens, O::DescribeTokens],
        }
    }
}

impl Operation {
    /// Whether being allowed this one means being allowed `wanted`.
    pub fn implies(self, wanted: Self) -> bool {
        match wanted {
            Self::Describe => {
                matches!(self, Self::Describe | Self::Read | Self::Write | Self::Delete | Self::Alter)
            }
            Self::DescribeConfigs => matches!(self, Self::DescribeConfigs | Self::AlterConfigs),
            other => self == other,
        }
    }
}

/// One thing that is accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    pub kind: ResourceKind,
    pub name: &'a str,
}

impl<'a> Resource<'a> {
    pub fn topic(name: &'a str) -> Self {
        Self { kind: ResourceKind::Topic, name }
    }

    pub fn group(name: &'a str) -> Self {
        Self { kind: ResourceKind::Group, name }
    }

    pub fn transactional_id(name: &'a str) -> Self {
        Self { kind: ResourceKind::TransactionalId, name }
    }
}

impl Resource<'static> {
    pub const CLUSTER: Self = Self { kind: ResourceKind::Cluster, name: CLUSTER };
}

/// A rule: whether somebody from somewhere may do something to some resources.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    pub kind: ResourceKind,
    pub name: String,
    pub pattern: Pattern,
    /// `User:name`, or `User:*` for everybody.
    pub principal: String,
    /// An IP address, or `*` for all.
    pub host: String,
    pub operation: Operation,
    pub permission: Permission,
}

impl Binding {
    /// Refuses what could never match or that Kafka refuses (AclsAuthorizer.validateAclBinding).
    pub fn check(&self) -> Result<(), String> {
        for (what, text) in
            [("resource name", &self.name), ("principal", &self.principal), ("host", &self.host)]
        {
            if text.is_empty() {
                return Err(format!("an ACL needs a {what}"));
            }
            if text.len() > NAME_BYTES_MAX {
                return Err(format!("a {what} of {} bytes: at most {NAME_BYTES_MAX} are taken", text.len()));
            }
        }
        if !self.principal.contains(':') {
            return Err(format!("principal `{}`: write it as User:name", self.principal));
        }
        if self.host != WILDCARD && self.host.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("host `{}`: give an IP address, or * for all", self.host));
        }
        if self.kind == ResourceKind::Cluster && self.name != CLUSTER {
            return Err(format!("the only cluster resource is named {CLUSTER}, not `{}`", self.name));
        }
        if self.operation != Operation::All && !self.kind.operations().contains(&self.operation) {
            return Err(format!("{:?} is no operation on a {:?}", self.operation, self.kind));
        }
        Ok(())
    }

    /// Whether it speaks of this resource.
    pub fn matches(&self, name: &str) -> bool {
        match self.pattern {
            Pattern::Literal => self.name == name || self.name == WILDCARD,
            Pattern::Prefixed => name.starts_with(&self.name),
        }
    }
}

/// How a filter looks at patterns (PatternType's ANY and MATCH beside the two that bindings have).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterPattern {
    Any,
    /// All that speak of the named resource.
    Match,
    Exactly(Pattern),
}

impl FilterPattern {
    /// What Kafka numbers so.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(Self::Any),
            2 => Some(Self::Match),
            other => Pattern::from_code(other).map(Self::Exactly),
        }
    }
}

/// Finds bindings; none matches everything (AclBindingFilter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub kind: Option<ResourceKind>,
    pub name: Option<String>,
    pub pattern: FilterPattern,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: Option<Operation>,
    pub permission: Option<Permission>,
}

impl Filter {
    /// Finds all bindings.
    pub const ALL: Self = Self {
        kind: None,
        name: None,
        pattern: FilterPattern::Any,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    };

    /// Whether it finds `binding`.
    pub fn finds(&self, binding: &Binding) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, has: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == has)
        }
        let name = match (self.pattern, &self.name) {
            (FilterPattern::Exactly(pattern), name) => {
                pattern == binding.pattern && fits(name.as_ref(), &binding.name)
            }
            (FilterPattern::Any, name) => fits(name.as_ref(), &binding.name),
            (FilterPattern::Match, None) => true,
            (FilterPattern::Match, Some(name)) => binding.matches(name),
        };
        name && fits(self.kind.as_ref(), &binding.kind)
            && fits(self.principal.as_ref(), &binding.principal)
            && fits(self.host.as_ref(), &binding.host)
            && fits(self.operation.as_ref(), &binding.operation)
            && fits(self.permission.as_ref(), &binding.permission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(kind: ResourceKind, pattern: Pattern, name: &str) -> Binding {
        Binding {
            kind,
            name: name.into(),
            pattern,
            principal: "User:alice".into(),
            host: WILDCARD.into(),
            operation: Operation::Describe,
            permission: Permission::Allow,
        }
    }

    #[test]
    fn bindings_that_mean_nothing_are_refused() {
        let good = binding(ResourceKind::Topic, Pattern::Literal, "t");
        assert_eq!(good.check(), Ok(()));
        for (bad, word) in [
            (Binding { name: String::new(), ..good.clone() }, "resource name"),
            (Binding { name: "x".repeat(NAME_BYTES_MAX + 1), ..good.clone() }, "at most"),
            (Binding { principal: "alice".into(), ..good.clone() }, "User:name"),
            (Binding { host: "localhost".into(), ..good.clone() }, "IP address"),
            (Binding { operation: Operation::IdempotentWrite, ..good.clone() }, "no operation"),
            (Binding { kind: ResourceKind::Cluster, ..good.clone() }, CLUSTER),
        ] {
            let error = bad.check().expect_err(word);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn filters_find_by_pattern() {
        let bindings = [
            binding(ResourceKind::Topic, Pattern::Literal, "tea"),
            binding(ResourceKind::Topic, Pattern::Literal, WILDCARD),
            binding(ResourceKind::Topic, Pattern::Prefixed, "te"),
            binding(ResourceKind::Topic, Pattern::Prefixed, "tea"),
            binding(ResourceKind::Group, Pattern::Literal, "tea"),
        ];
        let found = |pattern, name: Option<&str>| {
            let kind = Some(ResourceKind::Topic);
            let filter = Filter { kind, pattern, name: name.map(str::to_owned), ..Filter::ALL };
            let found = (0..bindings.len()).filter(|at| filter.finds(&bindings[*at]));
            found.collect::<Vec<_>>()
        };
        assert_eq!(found(FilterPattern::Any, None), [0, 1, 2, 3]);
        assert_eq!(found(FilterPattern::Any, Some("tea")), [0, 3]);
        assert_eq!(found(FilterPattern::Exactly(Pattern::Literal), Some("tea")), [0]);
        assert_eq!(found(FilterPattern::Exactly(Pattern::Prefixed), None), [2, 3]);
        assert_eq!(found(FilterPattern::Match, Some("teapot")), [1, 2, 3]);
        assert_eq!(found(FilterPattern::Match, Some("tea")), [0, 1, 2, 3]);
    }
}

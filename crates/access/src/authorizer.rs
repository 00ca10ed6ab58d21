//! The decision: pure, from bindings to yes or no, by the rules of Kafka's StandardAuthorizer.
//!
//! Owns: those rules. A denying binding wins over every allowing one; an allowing one implies what it needs (Describe by
//! Read, Write, Delete, Alter; DescribeConfigs by AlterConfigs), a denying one does not; a resource that no binding speaks
//! of falls to the default, one that some binding speaks of is closed to everybody whom none allows; super users may
//! do everything.
//! Does not own: keeping bindings (`store`).
//! Invariants: a decision looks at the bindings of the resource's name, its prefixes and `*` alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::Principal;
use crate::acl::{Binding, Operation, Pattern, Permission, Resource, ResourceKind, WILDCARD};

/// Everybody, in a binding.
const EVERYBODY: &str = "User:*";

/// Bindings in the order of questions.
#[derive(Debug, Default)]
pub struct Authorizer {
    super_users: HashSet<String>,
    /// `allow.everyone.if.no.acl.found`.
    open_by_default: bool,
    kinds: HashMap<ResourceKind, Bindings>,
}

/// The bindings of one kind of resource.
#[derive(Debug, Default)]
struct Bindings {
    literal: HashMap<String, Vec<Rule>>,
    prefixed: HashMap<String, Vec<Rule>>,
    /// The lengths that prefixes have, bytes: no other beginning of a name needs to be looked up.
    prefix_lengths: BTreeSet<usize>,
}

#[derive(Debug)]
struct Rule {
    principal: String,
    host: String,
    operation: Operation,
    permission: Permission,
}

impl Rule {
    fn is_about(&self, principal: &Principal, host: &str) -> bool {
        (self.principal == principal.as_str() || self.principal == EVERYBODY)
            && (self.host == WILDCARD || self.host == host)
    }

    /// What it says about `operation`, if anything.
    fn says(&self, operation: Operation) -> Option<Permission> {
        let applies = match (self.operation, self.permission) {
            (Operation::All, _) => true,
            (own, Permission::Allow) => own.implies(operation),
            (own, Permission::Deny) => own == operation,
        };
        applies.then_some(self.permission)
    }
}

impl Bindings {
    /// The rules that speak of `name`.
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rule> {
        let exact = self.literal.get(name);
        let all = if name == WILDCARD { None } else { self.literal.get(WILDCARD) };
        let beginnings = self.prefix_lengths.range(..=name.len()).filter_map(|length| name.get(..*length));
        let prefixed = beginnings.filter_map(|beginning| self.prefixed.get(beginning));
        exact.into_iter().chain(all).chain(prefixed).flatten()
    }
}

impl Authorizer {
    /// Decides by `bindings`.
    pub fn new<'a>(
        bindings: impl IntoIterator<Item = &'a Binding>,
        super_users: &[String],
        open_by_default: bool,
    ) -> Self {
        let mut kinds: HashMap<ResourceKind, Bindings> = HashMap::new();
        for binding in bindings {
            let of_kind = kinds.entry(binding.kind).or_default();
            let by_name = match binding.pattern {
                Pattern::Literal => &mut of_kind.literal,
                Pattern::Prefixed => {
                    of_kind.prefix_lengths.insert(binding.name.len());
                    &mut of_kind.prefixed
                }
            };
            by_name.entry(binding.name.clone()).or_default().push(Rule {
                principal: binding.principal.clone(),
                host: binding.host.clone(),
                operation: binding.operation,
                permission: binding.permission,
            });
        }
        Self { super_users: super_users.iter().cloned().collect(), open_by_default, kinds }
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.open_by_default && self.kinds.is_empty()
    }

    /// Whether `principal`, asking from the address `host`, may do `operation` to `resource`.
    pub fn allows(
        &self,
        principal: &Principal,
        host: &str,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        if self.super_users.contains(principal.as_str()) {
            return true;
        }
        let Some(bindings) = self.kinds.get(&resource.kind) else { return self.open_by_default };
        let (mut spoken_of, mut allowed) = (false, false);
        for rule in bindings.of(resource.name) {
            spoken_of = true;
            if !rule.is_about(principal, host) {
                continue;
            }
            match rule.says(operation) {
                Some(Permission::Deny) => return false,
                Some(Permission::Allow) => allowed = true,
                None => {}
            }
        }
        allowed || (!spoken_of && self.open_by_default)
    }

    /// Whether `principal` may do `operation` to at least one resource of `kind`, there or not
    /// (Authorizer.authorizeByResourceType): idempotent producers need Write on any topic.
    pub fn allows_any(
        &self,
        principal: &Principal,
        host: &str,
        operation: Operation,
        kind: ResourceKind,
    ) -> bool {
        // As Kafka asks, for super users and for the default.
        if self.allows(principal, host, operation, Resource { kind, name: "hardcode" }) {
            return true;
        }
        let Some(bindings) = self.kinds.get(&kind) else { return false };
        let has = |rules: &[Rule], permission| {
            let mut own = rules.iter().filter(|r| r.permission == permission && r.is_about(principal, host));
            own.any(|r| r.operation == operation || r.operation == Operation::All)
        };
        let literal = |permission| bindings.literal.iter().filter(move |(_, rules)| has(rules, permission));
        let prefixed = |permission| bindings.prefixed.iter().filter(move |(_, rules)| has(rules, permission));
        if literal(Permission::Deny).any(|(name, _)| name == WILDCARD) {
            return false;
        }
        let denied_literal: HashSet<&String> = literal(Permission::Deny).map(|(name, _)| name).collect();
        let denied_prefix: Vec<&String> = prefixed(Permission::Deny).map(|(name, _)| name).collect();
        let below_denied = |name: &str| denied_prefix.iter().any(|prefix| name.starts_with(prefix.as_str()));
        literal(Permission::Allow)
            .any(|(name, _)| name == WILDCARD || (!denied_literal.contains(name) && !below_denied(name)))
            || prefixed(Permission::Allow).any(|(name, _)| !below_denied(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "10.0.0.1";

    /// `allow|deny operation principal [host]` on a topic's literal name, or on a prefix that ends with `…`.
    fn rule(text: &str, name: &str) -> Binding {
        let words: Vec<&str> = text.split(' ').collect();
        let operation = Operation::ALL.iter().copied().find(|o| format!("{o:?}") == words[1]);
        let (pattern, name) = match name.strip_suffix('…') {
            Some(prefix) => (Pattern::Prefixed, prefix),
            None => (Pattern::Literal, name),
        };
        Binding {
            kind: ResourceKind::Topic,
            name: name.into(),
            pattern,
            principal: format!("User:{}", words[2]),
            host: words.get(3).copied().unwrap_or(WILDCARD).into(),
            operation: operation.expect(text),
            permission: if words[0] == "deny" { Permission::Deny } else { Permission::Allow },
        }
    }

    fn authorizer(rules: &[(&str, &str)], open: bool) -> Authorizer {
        let bindings: Vec<Binding> = rules.iter().map(|(text, name)| rule(text, name)).collect();
        Authorizer::new(&bindings, &["User:root".to_owned()], open)
    }

    fn may(rules: &[(&str, &str)], operation: Operation, topic: &str) -> bool {
        authorizer(rules, false).allows(&Principal::user("a"), HOST, operation, Resource::topic(topic))
    }

    #[test]
    fn what_is_allowed_is_allowed_and_nothing_else() {
        use Operation as O;
        for (rules, operation, topic, expected) in [
            (vec![("allow Read a", "t")], O::Read, "t", true),
            (vec![("allow Read a", "t")], O::Write, "t", false),
            (vec![("allow Read a", "t")], O::Read, "tt", false),
            (vec![("allow Read b", "t")], O::Read, "t", false),
            (vec![("allow Read *", "t")], O::Read, "t", true),
            (vec![("allow Read a", "*")], O::Read, "t", true),
            (vec![("allow Read a", "t…")], O::Read, "tea", true),
            (vec![("allow Read a", "t…")], O::Read, "t", true),
            (vec![("allow Read a", "tea…")], O::Read, "t", false),
            (vec![("allow All a", "t")], O::AlterConfigs, "t", true),
            // Where from.
            (vec![("allow Read a 10.0.0.1", "t")], O::Read, "t", true),
            (vec![("allow Read a 10.0.0.2", "t")], O::Read, "t", false),
            (vec![("allow Read a", "t"), ("deny Read a 10.0.0.2", "t")], O::Read, "t", true),
            // Denial wins, however narrow the permission and wide the denial.
            (vec![("allow Read a", "t"), ("deny Read *", "*")], O::Read, "t", false),
            (vec![("allow Read a", "t"), ("deny All a", "t…")], O::Read, "t", false),
            (vec![("deny Read a", "t"), ("allow All a", "t")], O::Write, "t", true),
            // What is implied, by permission and never by denial.
            (vec![("allow Read a", "t")], O::Describe, "t", true),
            (vec![("allow Write a", "t")], O::Describe, "t", true),
            (vec![("allow Delete a", "t")], O::Describe, "t", true),
            (vec![("allow Alter a", "t")], O::Describe, "t", true),
            (vec![("allow Create a", "t")], O::Describe, "t", false),
            (vec![("allow AlterConfigs a", "t")], O::DescribeConfigs, "t", true),
            (vec![("allow AlterConfigs a", "t")], O::Describe, "t", false),
            (vec![("allow Describe a", "t"), ("deny Read a", "t")], O::Describe, "t", true),
            (vec![("allow Read a", "t"), ("deny Describe a", "t")], O::Describe, "t", false),
            (vec![("allow Read a", "t"), ("deny Describe a", "t")], O::Read, "t", true),
            // Names are bytes: a prefix that ends within a character of the name matches nothing, and nothing breaks.
            (vec![("allow Read a", "ä…")], O::Read, "äb", true),
            (vec![("allow Read a", "x…")], O::Read, "ä", false),
        ] {
            assert_eq!(may(&rules, operation, topic), expected, "{rules:?} {operation:?} {topic}");
        }
    }

    #[test]
    fn the_default_is_for_resources_that_no_binding_speaks_of() {
        let rules = authorizer(&[("allow Read b", "t"), ("deny Read a", "u")], true);
        let may =
            |operation, topic| rules.allows(&Principal::user("a"), HOST, operation, Resource::topic(topic));
        assert!(may(Operation::Write, "other"));
        assert!(!may(Operation::Read, "t") && !may(Operation::Write, "t"));
        assert!(!may(Operation::Write, "u"));
        let group = Resource::group("t");
        assert!(rules.allows(&Principal::user("a"), HOST, Operation::Read, group));
        assert!(!rules.is_open() && authorizer(&[], true).is_open() && !authorizer(&[], false).is_open());
        let nothing = authorizer(&[], false);
        assert!(!nothing.allows(&Principal::user("a"), HOST, Operation::Read, group));
    }

    #[test]
    fn super_users_may_do_everything() {
        let rules = authorizer(&[("deny All *", "*")], false);
        let root = Principal::user("root");
        assert!(rules.allows(&root, HOST, Operation::Delete, Resource::topic("t")));
        assert!(rules.allows_any(&root, HOST, Operation::Write, ResourceKind::Topic));
        assert!(!rules.allows(&Principal::user("rooter"), HOST, Operation::Delete, Resource::topic("t")));
    }

    /// The cases of Kafka's testAuthorizeByResourceType*.
    #[test]
    fn any_resource_of_a_kind() {
        for (rules, expected) in [
            (vec![], false),
            (vec![("allow Write a", "t")], true),
            (vec![("allow All a", "t")], true),
            (vec![("allow Read a", "t")], false),
            (vec![("allow Write b", "t")], false),
            (vec![("allow Write a", "*")], true),
            (vec![("allow Write a", "*"), ("deny Write a", "*")], false),
            (vec![("allow Write a", "*"), ("deny Write a", "t")], true),
            (vec![("allow Write a", "t"), ("deny Write a", "t")], false),
            (vec![("allow Write a", "t"), ("deny Write a", "t…")], false),
            (vec![("allow Write a", "tea"), ("deny Write a", "t…")], false),
            (vec![("allow Write a", "t"), ("deny Write a", "tea…")], true),
            (vec![("allow Write a", "tea…"), ("deny Write a", "t…")], false),
            (vec![("allow Write a", "t…"), ("deny Write a", "tea…")], true),
            (vec![("allow Write a", "t"), ("deny Write a 10.0.0.9", "*")], true),
            (vec![("allow Write a", "t"), ("deny Read a", "t")], true),
        ] {
            let got = authorizer(&rules, false).allows_any(
                &Principal::user("a"),
                HOST,
                Operation::Write,
                ResourceKind::Topic,
            );
            assert_eq!(got, expected, "{rules:?}");
        }
        let open = authorizer(&[("deny Write a", "t")], true);
        assert!(open.allows_any(&Principal::user("a"), HOST, Operation::Write, ResourceKind::Topic));
    }
}

//! The authorization matrix, all of it: every act on every kind of object, for every privilege on every place.

use std::collections::BTreeSet;
use std::sync::Arc;

use storage::{Control, RealDisk, SharedDisk};
use uuid::Uuid;

use super::*;
use crate::{Access, Settings};

const NOW: i64 = 1_700_000_000_000;

struct Place(std::path::PathBuf);

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("frazil-roles-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&dir).expect("directory");
        Self(dir)
    }

    fn open(&self) -> Access {
        let disk: SharedDisk = Arc::new(RealDisk);
        let control = Control::open(&disk, &storage::layout::control_file(&self.0)).expect("control");
        Access::open(control, Settings { catalog_tokens: true, ..Settings::default() }).expect("access")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn levels(text: &str) -> Vec<String> {
    text.split('.').filter(|level| !level.is_empty()).map(str::to_owned).collect()
}

/// Roles with one principal `p` that has exactly this grant.
fn with(grant: Grant) -> Roles {
    let mut roles = Roles::default();
    roles.add_principal("p", "id".into(), Default::default(), NOW).expect("principal");
    roles.add_principal_role("r", Default::default(), NOW).expect("role");
    roles.add_catalog_role("c", Default::default(), NOW).expect("role");
    roles.assign("p", "r", true).expect("assign");
    roles.assign_catalog_role("r", "c", true).expect("assign");
    roles.grant("c", grant, true).expect("grant");
    roles
}

fn known(name: &str) -> Caller {
    Caller::Known { name: name.into(), only: None }
}

/// What each privilege lets somebody do, written down a second time by hand: acts by their names.
const ALLOWED: &[(&str, &str)] = &[
    ("CATALOG_MANAGE_ACCESS", "ManageAccess"),
    (
        "CATALOG_MANAGE_CONTENT",
        "ListNamespaces CreateNamespace LoadNamespace UpdateNamespace DropNamespace ListTables CreateTable LoadTable ChangeTable CommitData DropTable PurgeTable ReportMetrics ListViews CreateView LoadView ReplaceView DropView",
    ),
    (
        "CATALOG_MANAGE_METADATA",
        "ListNamespaces CreateNamespace LoadNamespace UpdateNamespace DropNamespace ListTables CreateTable LoadTable ChangeTable DropTable ListViews CreateView LoadView ReplaceView DropView",
    ),
    ("NAMESPACE_CREATE", "ListNamespaces CreateNamespace"),
    ("NAMESPACE_DROP", "ListNamespaces DropNamespace"),
    ("NAMESPACE_LIST", "ListNamespaces"),
    ("NAMESPACE_READ_PROPERTIES", "ListNamespaces LoadNamespace"),
    ("NAMESPACE_WRITE_PROPERTIES", "ListNamespaces LoadNamespace UpdateNamespace"),
    ("NAMESPACE_FULL_METADATA", "ListNamespaces CreateNamespace LoadNamespace UpdateNamespace DropNamespace"),
    ("TABLE_CREATE", "ListTables CreateTable"),
    ("TABLE_DROP", "ListTables DropTable"),
    ("TABLE_LIST", "ListTables"),
    ("TABLE_READ_PROPERTIES", "ListTables LoadTable"),
    ("TABLE_WRITE_PROPERTIES", "ListTables LoadTable ChangeTable"),
    ("TABLE_READ_DATA", "ListTables LoadTable ReportMetrics"),
    ("TABLE_WRITE_DATA", "ListTables LoadTable ChangeTable CommitData ReportMetrics"),
    ("TABLE_FULL_METADATA", "ListTables CreateTable LoadTable ChangeTable DropTable"),
    ("VIEW_CREATE", "ListViews CreateView"),
    ("VIEW_DROP", "ListViews DropView"),
    ("VIEW_LIST", "ListViews"),
    ("VIEW_READ_PROPERTIES", "ListViews LoadView"),
    ("VIEW_WRITE_PROPERTIES", "ListViews LoadView ReplaceView"),
    ("VIEW_FULL_METADATA", "ListViews CreateView LoadView ReplaceView DropView"),
];

#[test]
fn every_privilege_on_every_place_for_every_act_and_object() {
    assert_eq!(ALLOWED.len(), Privilege::ALL.len());
    let acts: BTreeSet<String> = MATRIX.iter().map(|(act, _)| format!("{act:?}")).collect();
    assert_eq!(acts.len(), MATRIX.len(), "an act is there once");
    let (inside, deeper, outside) = (levels("a"), levels("a.b"), levels("x"));
    let grants = [
        (GrantOn::Catalog, vec![], None),
        (GrantOn::Namespace, inside.clone(), None),
        (GrantOn::Table, inside.clone(), Some("t")),
        (GrantOn::View, inside.clone(), Some("v")),
    ];
    let mut cases = 0;
    for (name, allowed) in ALLOWED {
        let privilege = *Privilege::ALL.iter().find(|p| p.name() == *name).expect("privilege");
        let allowed: BTreeSet<&str> = allowed.split(' ').collect();
        for (on, namespace, of) in &grants {
            let grant =
                Grant { on: *on, namespace: namespace.clone(), name: of.map(str::to_owned), privilege };
            if !privilege.fits(*on) {
                assert!(grant.check().is_err(), "{grant:?}");
                continue;
            }
            let roles = with(grant);
            for (act, _) in MATRIX {
                for namespace in [&vec![], &inside, &deeper, &outside] {
                    for object in [
                        Object::Namespace(namespace),
                        Object::Table(namespace, "t"),
                        Object::Table(namespace, "v"),
                        Object::View(namespace, "v"),
                        Object::View(namespace, "t"),
                    ] {
                        let covered = match (on, object) {
                            (GrantOn::Catalog, _) => true,
                            (GrantOn::Namespace, _) => *namespace == inside || *namespace == deeper,
                            (GrantOn::Table, Object::Table(_, "t")) => *namespace == inside,
                            (GrantOn::View, Object::View(_, "v")) => *namespace == inside,
                            _ => false,
                        };
                        let expected = covered && allowed.contains(format!("{act:?}").as_str());
                        let got = roles.allow(&known("p"), *act, object);
                        assert_eq!(got, expected, "{name} on {on:?}: {act:?} {object:?}");
                        assert!(!roles.allow(&known("nobody"), *act, object));
                        cases += 1;
                    }
                }
            }
        }
    }
    assert!(cases > 15_000, "{cases}");
}

#[test]
fn roles_limit_and_end() {
    let place = Place::new();
    let root = {
        let access = place.open();
        let root = access.bootstrap_root(None, NOW).expect("bootstrap").expect("the first time");
        assert_eq!(access.bootstrap_root(None, NOW).expect("bootstrap"), None, "shown once");
        root
    };
    let access = place.open();
    let token = |client: &str, secret: &str, scope: &str| {
        access.issue_token(client, secret, scope, NOW).map(|t| t.map(|(token, _)| token))
    };
    let text = token("root", &root.secret, "PRINCIPAL_ROLE:ALL").expect("scope").expect("token");
    let caller = access.caller_of(&text, NOW).expect("caller");
    assert!(access.is_catalog_admin(&caller));
    assert!(access.catalog_allows(&caller, Act::PurgeTable, Object::Table(&levels("a"), "t")));
    for (client, secret) in [("root", "wrong"), ("root", ""), ("nobody", &root.secret), ("", "")] {
        assert_eq!(token(client, secret, "").expect("scope"), None, "{client}");
    }
    assert!(token("root", &root.secret, "PRINCIPAL_ROLE:none").is_err());
    assert!(token("root", &root.secret, "everything").is_err());

    let alice = access.create_principal("alice", Default::default(), NOW).expect("principal");
    assert!(matches!(access.create_principal("alice", Default::default(), NOW), Err(RolesError::Exists(..))));
    for role in ["readers", "writers"] {
        access.create_principal_role(role, Default::default(), NOW).expect("role");
        access.create_catalog_role(role, Default::default(), NOW).expect("role");
        access.assign_catalog_role(role, role, true).expect("assign");
        access.assign_role("alice", role, true).expect("assign");
    }
    let on_a = |privilege| Grant { on: GrantOn::Namespace, namespace: levels("a"), name: None, privilege };
    access.grant("readers", on_a(Privilege::TableReadData), true).expect("grant");
    access.grant("writers", on_a(Privilege::TableWriteData), true).expect("grant");
    let (a, table) = (levels("a"), "t");
    let may = |token: &str, act| {
        let caller = access.caller_of(token, NOW).expect("caller");
        access.catalog_allows(&caller, act, Object::Table(&a, table))
    };
    let both = token(&alice.client_id, &alice.secret, "PRINCIPAL_ROLE:ALL").expect("scope").expect("token");
    let reader = token("alice", &alice.secret, "PRINCIPAL_ROLE:readers").expect("scope").expect("token");
    assert!(may(&both, Act::CommitData) && may(&both, Act::LoadTable) && !may(&both, Act::DropTable));
    assert!(may(&reader, Act::LoadTable) && !may(&reader, Act::CommitData));
    let (wider, _) =
        access.exchange_token(&reader, "PRINCIPAL_ROLE:ALL", NOW).expect("scope").expect("token");
    assert!(may(&wider, Act::LoadTable) && !may(&wider, Act::CommitData), "an exchange widens nothing");
    assert_eq!(access.exchange_token("x.y.z", "", NOW).expect("scope"), None);
    assert_eq!(access.caller_of(&reader, NOW + 3_600_000), Err(TokenError::Expired));

    access.drop_principal_role("readers").expect("drop");
    assert!(!may(&reader, Act::LoadTable), "a role that is gone gives nothing");
    let rotated = access.rotate_secret("alice").expect("rotate");
    assert_eq!(access.caller_of(&both, NOW), Err(TokenError::Foreign), "tokens of the old secret end");
    assert_eq!(token("alice", &alice.secret, "").expect("scope"), None);
    assert!(token("alice", &rotated.secret, "").expect("scope").is_some());
    access.drop_principal("alice").expect("drop");
    assert_eq!(token("alice", &rotated.secret, "").expect("scope"), None);
    assert!(!access.users().contains_key("alice"));
    assert!(matches!(access.drop_principal("root"), Err(RolesError::Permanent(_))));
    assert!(matches!(access.assign_role("root", "service_admin", false), Err(RolesError::Permanent(_))));
    drop(access);
    let access = place.open();
    assert_eq!(access.catalog_roles()["writers"].grants, BTreeSet::from([on_a(Privilege::TableWriteData)]));
    assert!(!access.principal_roles().contains_key("readers"));
}

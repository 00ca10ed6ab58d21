//! Privileges, what implies them, and what every request needs: the authorization matrix.
//!
//! Owns: [`MATRIX`], the one table that says which privilege a request needs on what; the implications.
//! Does not own: who has which privilege (`roles`).

use serde::{Deserialize, Serialize};

/// Declares an enum with Polaris' names.
macro_rules! privileges {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A right that a catalog role can have, by Polaris' name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Privilege { $(#[serde(rename = $name)] $variant),+ }

        impl Privilege {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name that requests use.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

privileges! {
    ManageAccess = "CATALOG_MANAGE_ACCESS",
    ManageContent = "CATALOG_MANAGE_CONTENT",
    ManageMetadata = "CATALOG_MANAGE_METADATA",
    NamespaceCreate = "NAMESPACE_CREATE",
    NamespaceDrop = "NAMESPACE_DROP",
    NamespaceList = "NAMESPACE_LIST",
    NamespaceRead = "NAMESPACE_READ_PROPERTIES",
    NamespaceWrite = "NAMESPACE_WRITE_PROPERTIES",
    NamespaceFull = "NAMESPACE_FULL_METADATA",
    TableCreate = "TABLE_CREATE",
    TableDrop = "TABLE_DROP",
    TableList = "TABLE_LIST",
    TableRead = "TABLE_READ_PROPERTIES",
    TableWrite = "TABLE_WRITE_PROPERTIES",
    TableReadData = "TABLE_READ_DATA",
    TableWriteData = "TABLE_WRITE_DATA",
    TableFull = "TABLE_FULL_METADATA",
    ViewCreate = "VIEW_CREATE",
    ViewDrop = "VIEW_DROP",
    ViewList = "VIEW_LIST",
    ViewRead = "VIEW_READ_PROPERTIES",
    ViewWrite = "VIEW_WRITE_PROPERTIES",
    ViewFull = "VIEW_FULL_METADATA",
}

/// What a privilege can be granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantOn {
    Catalog,
    Namespace,
    Table,
    View,
}

impl Privilege {
    /// Whether having this one means having `wanted`.
    pub fn implies(self, wanted: Self) -> bool {
        use Privilege as P;
        if self == wanted {
            return true;
        }
        match self {
            P::ManageContent => wanted != P::ManageAccess,
            P::ManageMetadata => {
                !matches!(wanted, P::ManageAccess | P::ManageContent | P::TableReadData | P::TableWriteData)
            }
            P::NamespaceFull => matches!(
                wanted,
                P::NamespaceCreate
                    | P::NamespaceDrop
                    | P::NamespaceList
                    | P::NamespaceRead
                    | P::NamespaceWrite
            ),
            P::NamespaceCreate | P::NamespaceDrop => wanted == P::NamespaceList,
            P::NamespaceRead => wanted == P::NamespaceList,
            P::NamespaceWrite => matches!(wanted, P::NamespaceRead | P::NamespaceList),
            P::TableFull => {
                matches!(wanted, P::TableCreate | P::TableDrop | P::TableList | P::TableRead | P::TableWrite)
            }
            P::TableCreate | P::TableDrop | P::TableRead => wanted == P::TableList,
            P::TableWrite | P::TableReadData => matches!(wanted, P::TableRead | P::TableList),
            P::TableWriteData => {
                matches!(wanted, P::TableReadData | P::TableWrite | P::TableRead | P::TableList)
            }
            P::ViewFull => {
                matches!(wanted, P::ViewCreate | P::ViewDrop | P::ViewList | P::ViewRead | P::ViewWrite)
            }
            P::ViewCreate | P::ViewDrop | P::ViewRead => wanted == P::ViewList,
            P::ViewWrite => matches!(wanted, P::ViewRead | P::ViewList),
            P::ManageAccess | P::NamespaceList | P::TableList | P::ViewList => false,
        }
    }

    /// Whether it can be granted there: nothing is granted on less than it speaks of.
    pub fn fits(self, on: GrantOn) -> bool {
        let of = |word: &str| self.name().starts_with(word);
        match on {
            GrantOn::Catalog => true,
            GrantOn::Namespace => self != Self::ManageAccess,
            GrantOn::Table => of("TABLE_") && !matches!(self, Self::TableCreate | Self::TableList),
            GrantOn::View => of("VIEW_") && !matches!(self, Self::ViewCreate | Self::ViewList),
        }
    }
}

/// What a request is about. The catalog is the namespace without levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    Namespace(&'a [String]),
    Table(&'a [String], &'a str),
    View(&'a [String], &'a str),
}

/// What a request does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    ListNamespaces,
    CreateNamespace,
    LoadNamespace,
    UpdateNamespace,
    DropNamespace,
    ListTables,
    CreateTable,
    LoadTable,
    ChangeTable,
    CommitData,
    DropTable,
    PurgeTable,
    ReportMetrics,
    ListViews,
    CreateView,
    LoadView,
    ReplaceView,
    DropView,
    ManageAccess,
}

/// The authorization matrix: what every act needs on its object, all of it. The object of an act that makes or lists
/// something is the namespace it does so in. A rename is a drop of the old name and a creation of the new one.
pub const MATRIX: &[(Act, &[Privilege])] = &[
    (Act::ListNamespaces, &[Privilege::NamespaceList]),
    (Act::CreateNamespace, &[Privilege::NamespaceCreate]),
    (Act::LoadNamespace, &[Privilege::NamespaceRead]),
    (Act::UpdateNamespace, &[Privilege::NamespaceWrite]),
    (Act::DropNamespace, &[Privilege::NamespaceDrop]),
    (Act::ListTables, &[Privilege::TableList]),
    (Act::CreateTable, &[Privilege::TableCreate]),
    (Act::LoadTable, &[Privilege::TableRead]),
    (Act::ChangeTable, &[Privilege::TableWrite]),
    (Act::CommitData, &[Privilege::TableWriteData]),
    (Act::DropTable, &[Privilege::TableDrop]),
    (Act::PurgeTable, &[Privilege::TableDrop, Privilege::TableWriteData]),
    (Act::ReportMetrics, &[Privilege::TableReadData]),
    (Act::ListViews, &[Privilege::ViewList]),
    (Act::CreateView, &[Privilege::ViewCreate]),
    (Act::LoadView, &[Privilege::ViewRead]),
    (Act::ReplaceView, &[Privilege::ViewWrite]),
    (Act::DropView, &[Privilege::ViewDrop]),
    (Act::ManageAccess, &[Privilege::ManageAccess]),
];

impl Act {
    /// What it needs. An act that the matrix does not know needs everything.
    pub fn needs(self) -> &'static [Privilege] {
        MATRIX.iter().find(|(act, _)| *act == self).map_or(Privilege::ALL, |(_, needs)| needs)
    }
}

//! Where guests may put things.
//!
//! Owns: the rule that everything a guest names lies in its table's own directory.
//! Does not own: names (`names`), confinement to the warehouse (`storage::Objects`).
//! Invariants: every location in every request passes here before anything is written or read; a location has one
//! meaning for whoever reads it; no two tables share a directory.

use storage::layout::CATALOG;

use super::pointers::{self, Pointer};
use super::{CatalogError, TableIdent, Tables, names};

/// Properties that say where files go.
const LOCATION_PROPERTIES: &[&str] = &[
    "location",
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
];

/// Longest location, bytes.
const LOCATION_BYTES_MAX: usize = 2_048;

fn forbidden(message: String) -> CatalogError {
    CatalogError::Forbidden(message)
}

/// Whether `location` is `base` or lies below it.
pub(super) fn is_within(base: &str, location: &str) -> bool {
    let rest = storage::objects::canonical(location);
    rest.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The form that everything here has, without slashes at the end.
pub(super) fn canonical(location: &str) -> String {
    storage::objects::canonical(location.trim_end_matches('/')).into_owned()
}

impl Tables {
    /// Refuses a location that means different things to different readers, or that lies outside the warehouse.
    fn check_plain(&self, what: &str, location: &str) -> Result<(), CatalogError> {
        if location.len() > LOCATION_BYTES_MAX {
            let length = location.len();
            return Err(forbidden(format!("{what} has {length} bytes, more than {LOCATION_BYTES_MAX}")));
        }
        let odd = |c: char| c.is_control() || matches!(c, '%' | '*' | '?' | '#' | '\\');
        if let Some(c) = location.chars().find(|c| odd(*c)) {
            return Err(forbidden(format!("{what} {location:?} may not contain {c:?}")));
        }
        let path = self.objects().path(location);
        path.map(drop).map_err(|e| forbidden(format!("{what}: {e}")))
    }

    /// A directory or file that a guest names for its table, which must lie in the table's directory.
    pub(super) fn check_within(&self, base: &str, what: &str, location: &str) -> Result<(), CatalogError> {
        self.check_plain(what, location)?;
        if is_within(base, location) {
            return Ok(());
        }
        Err(forbidden(format!("{what} {location} lies outside the table's directory {base}")))
    }

    /// Properties that say where files go.
    pub(super) fn check_location_properties<'a>(
        &self,
        base: &str,
        properties: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<(), CatalogError> {
        for (key, value) in properties {
            if LOCATION_PROPERTIES.contains(&key.as_str()) || key.ends_with(".path") {
                self.check_within(base, key, value.trim_end_matches('/'))?;
            }
        }
        Ok(())
    }

    /// The directory that a guest asks for: the one that its table would get anyway, one that such a table was given
    /// because of what lies there, or one below. None when the wish is passed over.
    pub(super) fn wished_location(
        &self,
        ident: &TableIdent,
        location: &str,
    ) -> Result<Option<String>, CatalogError> {
        match self.requested_location(ident, location) {
            Err(_) if self.settings().override_locations => Ok(None),
            other => other.map(Some),
        }
    }

    /// The same; a location elsewhere is refused in any case.
    pub(super) fn requested_location(
        &self,
        ident: &TableIdent,
        location: &str,
    ) -> Result<String, CatalogError> {
        let location = canonical(location);
        self.check_plain("location", &location)?;
        let (base, _) = names::base_location(self.objects().root(), ident);
        let rest = location.strip_prefix(&base).unwrap_or("!");
        let own = rest.is_empty() || rest.starts_with('/') || names::is_suffix(rest);
        if !own {
            return Err(forbidden(format!("location {location} lies outside the place of {ident}, {base}")));
        }
        Ok(location)
    }

    /// No other table or view may lie in the directory, above or below it.
    pub(super) async fn check_unshared(
        &self,
        ident: &TableIdent,
        location: &str,
    ) -> Result<(), CatalogError> {
        let control = self.0.deps.control.clone();
        let found = tokio::task::spawn_blocking(move || {
            let mut found = control.scan_json::<Pointer>(CATALOG, pointers::TABLES)?;
            found.extend(control.scan_json::<Pointer>(CATALOG, pointers::VIEWS)?);
            Ok::<_, CatalogError>(found)
        });
        let found = found.await.map_err(|e| CatalogError::Format(e.to_string()))??;
        let own = [pointers::table_key(ident), pointers::view_key(ident)];
        for (key, pointer) in found.iter().filter(|(key, _)| !own.contains(key)) {
            let theirs = pointer.location();
            if is_within(theirs, location) || is_within(location, theirs) {
                let name = pointers::shown(key);
                return Err(forbidden(format!("location {location} belongs to {name}")));
            }
        }
        Ok(())
    }
}

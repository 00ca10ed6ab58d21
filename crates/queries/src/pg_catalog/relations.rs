//! Columns of the catalog relations.
//!
//! Owns: which relations there are, their columns, and which never have rows here.
//! Does not own: their rows.
//!
//! A line is `relation: column type, …`. Types: `oid`, `text`, `bool`, `int2`, `int4`, `int8`, `float4`, `tz`
//! (timestamptz), and arrays `text[]`, `int2[]`, `oid[]`; a `?` behind the type makes null the default of a row that
//! does not say otherwise, else it is false, 0 or the empty text. Object ids are 64-bit integers here.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Relations with rows.
const WITH_ROWS: &str = "
pg_namespace: oid oid, nspname text, nspowner oid, nspacl text[]
pg_class: oid oid, relname text, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid, relfilenode oid, reltablespace oid, relpages int4, reltuples float4, relallvisible int4, reltoastrelid oid, relhasindex bool, relisshared bool, relpersistence text, relkind text, relnatts int2, relchecks int2, relhasrules bool, relhastriggers bool, relhassubclass bool, relrowsecurity bool, relforcerowsecurity bool, relispopulated bool, relreplident text, relispartition bool, relrewrite oid, relfrozenxid int8, relminmxid int8, relacl text[], reloptions text[], relpartbound text?
pg_attribute: attrelid oid, attname text, atttypid oid, attstattarget int4, attlen int2, attnum int2, attndims int4, attcacheoff int4, atttypmod int4, attbyval bool, attalign text, attstorage text, attcompression text, attnotnull bool, atthasdef bool, atthasmissing bool, attidentity text, attgenerated text, attisdropped bool, attislocal bool, attinhcount int4, attcollation oid, attacl text[], attoptions text[], attfdwoptions text[], attmissingval text?
pg_type: oid oid, typname text, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype text, typcategory text, typispreferred bool, typisdefined bool, typdelim text, typrelid oid, typsubscript oid, typelem oid, typarray oid, typinput oid, typoutput oid, typreceive oid, typsend oid, typmodin oid, typmodout oid, typanalyze oid, typalign text, typstorage text, typnotnull bool, typbasetype oid, typtypmod int4, typndims int4, typcollation oid, typdefaultbin text?, typdefault text?, typacl text[]
pg_database: oid oid, datname text, datdba oid, encoding int4, datlocprovider text, datistemplate bool, datallowconn bool, datconnlimit int4, datfrozenxid int8, datminmxid int8, dattablespace oid, datcollate text, datctype text, daticulocale text?, datcollversion text?, datacl text[]
pg_roles: rolname text, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, rolreplication bool, rolconnlimit int4, rolpassword text?, rolvaliduntil tz?, rolbypassrls bool, rolconfig text[], oid oid
pg_authid: oid oid, rolname text, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, rolreplication bool, rolbypassrls bool, rolconnlimit int4, rolpassword text?, rolvaliduntil tz?
pg_user: usename text, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool, passwd text?, valuntil tz?, useconfig text[]
pg_am: oid oid, amname text, amhandler oid, amtype text
pg_tablespace: oid oid, spcname text, spcowner oid, spcacl text[], spcoptions text[]
pg_settings: name text, setting text, unit text?, category text, short_desc text, extra_desc text?, context text, vartype text, source text, min_val text?, max_val text?, enumvals text[], boot_val text?, reset_val text?, sourcefile text?, sourceline int4?, pending_restart bool
pg_tables: schemaname text, tablename text, tableowner text, tablespace text?, hasindexes bool, hasrules bool, hastriggers bool, rowsecurity bool
";

/// Relations of features that do not exist here: always without rows.
const WITHOUT_ROWS: &str = "
pg_attrdef: oid oid, adrelid oid, adnum int2, adbin text
pg_auth_members: oid oid, roleid oid, member oid, grantor oid, admin_option bool
pg_cast: oid oid, castsource oid, casttarget oid, castfunc oid, castcontext text, castmethod text
pg_collation: oid oid, collname text, collnamespace oid, collowner oid, collprovider text, collisdeterministic bool, collencoding int4, collcollate text, collctype text, colliculocale text, collversion text
pg_constraint: oid oid, conname text, connamespace oid, contype text, condeferrable bool, condeferred bool, convalidated bool, conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid, confupdtype text, confdeltype text, confmatchtype text, conislocal bool, coninhcount int4, connoinherit bool, conkey int2[], confkey int2[], conpfeqop oid[], conppeqop oid[], conffeqop oid[], confdelsetcols int2[], conexclop oid[], conbin text
pg_conversion: oid oid, conname text, connamespace oid, conowner oid
pg_depend: classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, deptype text
pg_description: objoid oid, classoid oid, objsubid int4, description text
pg_enum: oid oid, enumtypid oid, enumsortorder float4, enumlabel text
pg_event_trigger: oid oid, evtname text, evtevent text, evtowner oid, evtfoid oid, evtenabled text, evttags text[]
pg_extension: oid oid, extname text, extowner oid, extnamespace oid, extrelocatable bool, extversion text, extconfig oid[], extcondition text[]
pg_foreign_data_wrapper: oid oid, fdwname text, fdwowner oid, fdwhandler oid, fdwvalidator oid, fdwacl text[], fdwoptions text[]
pg_foreign_server: oid oid, srvname text, srvowner oid, srvfdw oid, srvtype text, srvversion text, srvacl text[], srvoptions text[]
pg_foreign_table: ftrelid oid, ftserver oid, ftoptions text[]
pg_index: indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool, indnullsnotdistinct bool, indisprimary bool, indisexclusion bool, indimmediate bool, indisclustered bool, indisvalid bool, indcheckxmin bool, indisready bool, indislive bool, indisreplident bool, indkey int2[], indcollation oid[], indclass oid[], indoption int2[], indexprs text, indpred text
pg_indexes: schemaname text, tablename text, indexname text, tablespace text, indexdef text
pg_inherits: inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool
pg_language: oid oid, lanname text, lanowner oid, lanispl bool, lanpltrusted bool
pg_locks: locktype text, database oid, relation oid, pid int4, mode text, granted bool
pg_matviews: schemaname text, matviewname text, matviewowner text, tablespace text, hasindexes bool, ispopulated bool, definition text
pg_opclass: oid oid, opcmethod oid, opcname text, opcnamespace oid, opcowner oid, opcfamily oid, opcintype oid, opcdefault bool, opckeytype oid
pg_operator: oid oid, oprname text, oprnamespace oid, oprowner oid, oprkind text, oprleft oid, oprright oid, oprresult oid
pg_partitioned_table: partrelid oid, partstrat text, partnatts int2, partdefid oid, partattrs int2[], partclass oid[], partcollation oid[], partexprs text
pg_policies: schemaname text, tablename text, policyname text, permissive text, roles text[], cmd text, qual text, with_check text
pg_policy: oid oid, polname text, polrelid oid, polcmd text, polpermissive bool, polroles oid[], polqual text, polwithcheck text
pg_prepared_statements: name text, statement text, prepare_time tz, parameter_types text[], from_sql bool
pg_proc: oid oid, proname text, pronamespace oid, proowner oid, prolang oid, prokind text, proisstrict bool, proretset bool, provolatile text, pronargs int2, prorettype oid, proargtypes oid[], prosrc text
pg_publication: oid oid, pubname text, pubowner oid, puballtables bool, pubinsert bool, pubupdate bool, pubdelete bool, pubtruncate bool, pubviaroot bool
pg_publication_namespace: oid oid, pnpubid oid, pnnspid oid
pg_publication_rel: oid oid, prpubid oid, prrelid oid, prqual text, prattrs int2[]
pg_publication_tables: pubname text, schemaname text, tablename text
pg_range: rngtypid oid, rngsubtype oid, rngmultitypid oid, rngcollation oid, rngsubopc oid, rngcanonical oid, rngsubdiff oid
pg_replication_slots: slot_name text, plugin text, slot_type text, database text, active bool
pg_rewrite: oid oid, rulename text, ev_class oid, ev_type text, ev_enabled text, is_instead bool, ev_qual text, ev_action text
pg_rules: schemaname text, tablename text, rulename text, definition text
pg_seclabel: objoid oid, classoid oid, objsubid int4, provider text, label text
pg_sequence: seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, seqcache int8, seqcycle bool
pg_sequences: schemaname text, sequencename text, sequenceowner text, data_type text, start_value int8, min_value int8, max_value int8, increment_by int8, cycle bool, cache_size int8, last_value int8
pg_shdescription: objoid oid, classoid oid, description text
pg_stat_activity: datid oid, datname text, pid int4, usesysid oid, usename text, application_name text, client_addr text, backend_start tz, state text, query text
pg_stat_user_tables: relid oid, schemaname text, relname text, seq_scan int8, n_live_tup int8, n_dead_tup int8
pg_statistic_ext: oid oid, stxrelid oid, stxname text, stxnamespace oid, stxowner oid, stxstattarget int4, stxkeys int2[], stxkind text[], stxexprs text
pg_subscription: oid oid, subdbid oid, subname text, subowner oid, subenabled bool
pg_trigger: oid oid, tgrelid oid, tgparentid oid, tgname text, tgfoid oid, tgtype int2, tgenabled text, tgisinternal bool, tgconstrrelid oid, tgconstrindid oid, tgconstraint oid, tgdeferrable bool, tginitdeferred bool, tgnargs int2, tgattr int2[]
pg_ts_config: oid oid, cfgname text, cfgnamespace oid, cfgowner oid, cfgparser oid
pg_ts_dict: oid oid, dictname text, dictnamespace oid, dictowner oid, dicttemplate oid
pg_user_mapping: oid oid, umuser oid, umserver oid, umoptions text[]
pg_views: schemaname text, viewname text, viewowner text, definition text
";

/// `information_schema`: the first three have rows.
const INFORMATION_SCHEMA: &str = "
schemata: catalog_name text, schema_name text, schema_owner text, default_character_set_catalog text?, default_character_set_schema text?, default_character_set_name text?, sql_path text?
tables: table_catalog text, table_schema text, table_name text, table_type text, self_referencing_column_name text?, reference_generation text?, user_defined_type_catalog text?, user_defined_type_schema text?, user_defined_type_name text?, is_insertable_into text, is_typed text, commit_action text?
columns: table_catalog text, table_schema text, table_name text, column_name text, ordinal_position int4, column_default text?, is_nullable text, data_type text, character_maximum_length int4?, character_octet_length int4?, numeric_precision int4?, numeric_precision_radix int4?, numeric_scale int4?, datetime_precision int4?, interval_type text?, interval_precision int4?, character_set_name text?, collation_name text?, domain_name text?, udt_catalog text, udt_schema text, udt_name text, is_identity text, identity_generation text?, is_generated text, generation_expression text?, is_updatable text
views: table_catalog text, table_schema text, table_name text, view_definition text, check_option text, is_updatable text
table_constraints: constraint_catalog text, constraint_schema text, constraint_name text, table_catalog text, table_schema text, table_name text, constraint_type text, is_deferrable text, initially_deferred text, enforced text
key_column_usage: constraint_catalog text, constraint_schema text, constraint_name text, table_catalog text, table_schema text, table_name text, column_name text, ordinal_position int4, position_in_unique_constraint int4
referential_constraints: constraint_catalog text, constraint_schema text, constraint_name text, unique_constraint_catalog text, unique_constraint_schema text, unique_constraint_name text, match_option text, update_rule text, delete_rule text
constraint_column_usage: table_catalog text, table_schema text, table_name text, column_name text, constraint_catalog text, constraint_schema text, constraint_name text
routines: specific_catalog text, specific_schema text, specific_name text, routine_catalog text, routine_schema text, routine_name text, routine_type text, data_type text
sequences: sequence_catalog text, sequence_schema text, sequence_name text, data_type text
triggers: trigger_catalog text, trigger_schema text, trigger_name text, event_manipulation text, event_object_schema text, event_object_table text
table_privileges: grantor text, grantee text, table_catalog text, table_schema text, table_name text, privilege_type text
";

/// A catalog relation.
#[derive(Debug, Clone)]
pub(crate) struct CatalogRelation {
    pub columns: SchemaRef,
    /// Columns whose default is null.
    pub null_default: Vec<bool>,
    /// It never has rows.
    pub always_empty: bool,
}

static PG_CATALOG: LazyLock<HashMap<&'static str, CatalogRelation>> = LazyLock::new(|| {
    let mut all = parse(WITH_ROWS, false);
    all.extend(parse(WITHOUT_ROWS, true));
    all
});
static INFORMATION: LazyLock<HashMap<&'static str, CatalogRelation>> = LazyLock::new(|| {
    let mut all = parse(INFORMATION_SCHEMA, true);
    for name in ["schemata", "tables", "columns"] {
        if let Some(relation) = all.get_mut(name) {
            relation.always_empty = false;
        }
    }
    all
});

/// A relation of a system schema.
pub(crate) fn find(schema: &str, name: &str) -> Option<&'static CatalogRelation> {
    match schema {
        "pg_catalog" => PG_CATALOG.get(name),
        "information_schema" => INFORMATION.get(name),
        _ => None,
    }
}

fn parse(text: &'static str, always_empty: bool) -> HashMap<&'static str, CatalogRelation> {
    let mut all = HashMap::new();
    for line in text.lines().filter(|l| !l.is_empty()) {
        let Some((name, columns)) = line.split_once(": ") else { continue };
        let mut fields = Vec::new();
        let mut null_default = Vec::new();
        for column in columns.split(", ") {
            let Some((column, kind)) = column.split_once(' ') else { continue };
            let (kind, nullable) = match kind.strip_suffix('?') {
                Some(kind) => (kind, true),
                None => (kind, kind.ends_with("[]")),
            };
            fields.push(Field::new(column, arrow_type(kind), true));
            null_default.push(nullable);
        }
        let columns = Arc::new(Schema::new(fields));
        all.insert(name, CatalogRelation { columns, null_default, always_empty });
    }
    all
}

fn arrow_type(kind: &str) -> DataType {
    let list = |t| DataType::List(Arc::new(Field::new("item", t, true)));
    match kind {
        "oid" | "int8" => DataType::Int64,
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "float4" => DataType::Float32,
        "tz" => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        "text[]" => list(DataType::Utf8),
        "int2[]" => list(DataType::Int16),
        "oid[]" => list(DataType::Int64),
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_parses_to_columns_of_a_known_type() {
        for text in [WITH_ROWS, WITHOUT_ROWS, INFORMATION_SCHEMA] {
            for line in text.lines().filter(|l| !l.is_empty()) {
                let (_, columns) = line.split_once(": ").expect(line);
                for column in columns.split(", ") {
                    let (_, kind) = column.split_once(' ').expect(column);
                    let known = ["oid", "text", "bool", "int2", "int4", "int8", "float4", "tz"];
                    let plain = kind.trim_end_matches('?').trim_end_matches("[]");
                    assert!(known.contains(&plain), "{line}: {column}");
                }
            }
        }
        assert!(find("pg_catalog", "pg_index").unwrap().always_empty);
        assert!(!find("information_schema", "columns").unwrap().always_empty);
        assert!(find("public", "pg_class").is_none());
    }
}

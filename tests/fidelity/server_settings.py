"""Settings of a database by which values are written, read, compared or found in another way."""

from __future__ import annotations

# Each may stand at the source or the target; a value is what ALTER DATABASE ... SET takes.
SETTINGS: tuple[tuple[str, str], ...] = (
    ("DateStyle", "'SQL, DMY'"),
    ("DateStyle", "'German, DMY'"),
    ("DateStyle", "'Postgres, MDY'"),
    ("IntervalStyle", "'sql_standard'"),
    ("IntervalStyle", "'iso_8601'"),
    ("IntervalStyle", "'postgres_verbose'"),
    ("TimeZone", "'America/St_Johns'"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("extra_float_digits", "'-15'"),
    ("extra_float_digits", "'0'"),
    ("bytea_output", "'escape'"),
    ("search_path", "''"),
    ("search_path", "'pg_catalog'"),
    ("search_path", "shadow, public"),
    ("search_path", "shadow, pg_catalog, public"),
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_read_only", "'on'"),
    ("default_transaction_deferrable", "'on'"),
    ("standard_conforming_strings", "'off'"),
    ("array_nulls", "'off'"),
    ("transform_null_equals", "'on'"),
    ("quote_all_identifiers", "'on'"),
    ("client_encoding", "'LATIN1'"),
    ("client_encoding", "'SQL_ASCII'"),
    ("session_replication_role", "'replica'"),
    ("row_security", "'off'"),
    ("xmloption", "'document'"),
    ("enable_indexscan", "'off'"),
    ("enable_sort", "'off'"),
    ("jit", "'off'"),
    ("plan_cache_mode", "'force_generic_plan'"),
    ("work_mem", "'64kB'"),
    ("check_function_bodies", "'off'"),
    ("default_text_search_config", "'pg_catalog.russian'"),
    ("statement_timeout", "'20s'"),
    ("lock_timeout", "'5s'"),
    ("idle_in_transaction_session_timeout", "'10s'"),
)
# Objects of a schema that some search paths put in front: they bear the names of builtin ones.
SHADOW = """CREATE SCHEMA shadow;
CREATE TABLE shadow.pg_class (oid oid, relname name);
CREATE FUNCTION shadow.md5(text) RETURNS text LANGUAGE sql AS $$ SELECT 'shadow' $$;
CREATE FUNCTION shadow.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE OPERATOR shadow.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shadow.same);
CREATE DOMAIN shadow.text AS pg_catalog.varchar(3);"""

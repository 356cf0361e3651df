"""The servers at both ends: versions, rights, connections, letters, time zone, TLS."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.migration.load.refusals import distributed_tables, is_schema_distributed, undistribute
from app.migration.load.table_authority import read_authority
from app.migration.preflight.duplicates import collation_findings
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.writes import examine_writes
from app.migration.tables.copy_table import label, name_of, quoted
from app.state.fetching import fetch_rows, fetch_value

OLDEST_VERSION = 13
_FACTS = """
SELECT current_setting('server_version_num')::integer / 10000 AS version, current_user AS role,
    current_database() AS database, has_database_privilege(current_database(), 'CREATE') AS may_create,
    has_database_privilege(current_database(), 'TEMP') AS may_temp,
    to_regnamespace(%(tool)s) IS NOT NULL AS has_tool_schema,
    (SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE') FROM pg_namespace
        WHERE nspname = %(tool)s) AS may_use_tool_schema,
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %(data)s),
        %(data)s <> 'public' AND has_database_privilege(current_database(), 'CREATE')) AS may_create_tables,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
        AS free_connections,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
    (SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), oid, %(data)s) FROM pg_database
        WHERE datname = current_database()) AS place,
    (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone') AS time_zone,
    (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only') OR pg_is_in_recovery()
        AS read_only
"""
_TABLE_RIGHTS = """
SELECT n.nspname, c.relname, array_remove(ARRAY[
    CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
    CASE WHEN NOT has_table_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
    CASE WHEN NOT has_table_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
    CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END], NULL),
    pg_has_role(c.relowner, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AND c.relkind IN ('r', 'p')
"""


class Server(NamedTuple):
    """What is worth knowing of a server.

    Attributes:
        place: tells the schema of a database from any other's, by when its server started.
        findings: what could get in the way.
    """

    version: int
    place: str
    findings: list[Finding]


async def _facts(connection: AsyncConnection) -> dict[str, Any]:
    here = schemas_of(connection)
    async with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = await (await cursor.execute(_FACTS, {"data": here.data, "tool": here.tool})).fetchall()
    return row


async def examine_source(connection: AsyncConnection, tables: Sequence[Table]) -> Server:
    """The source's server, with what is to be said of its version, of TLS and of collations."""
    facts = await _facts(connection)
    found = [*_version(facts, "source"), *_tls(connection, "source", "--source")]
    found += await collation_findings(connection, tables, "source", version=facts["version"])
    return Server(facts["version"], facts["place"], found)


async def examine_target(
    connection: AsyncConnection,
    tables: Sequence[Table],
    catalog: dict[str, CatalogTable],
    *,
    connections: int,
    creates_tables: bool,
    over_rest: bool,
) -> Server:
    """The target's server, with all of it that could get in the way.

    Args:
        tables: those to be copied.
        connections: as many as the next step will need.
        creates_tables: tables are still to be made.
        over_rest: the rows come from a REST source.
    """
    facts = await _facts(connection)
    moved_out = (await read_authority(connection)).moved_out
    if moved_out is not None:  # all else that is in the way is there to keep others off
        why, instead = moved_out
        return Server(facts["version"], facts["place"], [finding("target-moved-out", why, str(instead))])
    found = [*_version(facts, "target"), *_tls(connection, "target", "DATABASE_URL")]
    found += _session(facts, connections)
    found += await _letters(connection)
    found += await collation_findings(connection, tables, "target", version=facts["version"])
    found += await _rights(connection, facts, tables, catalog, creates_tables=creates_tables)
    names = await distributed_tables(connection, tables)
    if names or await is_schema_distributed(connection):
        which = ", ".join(names) or "what is made in the schema"
        message = f"Citus keeps the target's tables on the nodes of a cluster ({which}); copy and sync come before that"
        found.append(finding("target-distributed", message, await undistribute(connection)))
    for table in tables:
        if (there := catalog.get(name_of(table))) is not None:
            if keys := [one.name for one in there.constraints if one.kind == "f"]:
                message = f"the target's {there.name} has foreign keys: {', '.join(keys)}"
                remedy = "nothing: a copy takes them away, which the tables' owner may, and puts them back, validated"
                found.append(finding("target-foreign-key", message, remedy, table=there.name))
            found += await examine_writes(connection, table, there, over_rest=over_rest)
    return Server(facts["version"], facts["place"], found)


def _version(facts: dict[str, Any], end: str) -> list[Finding]:
    if facts["version"] >= OLDEST_VERSION:
        return []
    return [
        finding(
            f"{end}-version",
            f"the {end} is PostgreSQL {facts['version']}, and {OLDEST_VERSION} is the oldest that is supported",
            "use a newer server",
        )
    ]


def travels_openly(address: str, *, encrypted: bool) -> bool:
    """Whether a connection goes to another machine unencrypted. What a pooler does behind its own address is its own.

    Args:
        address: the numeric one that was connected to; empty for a socket.
    """
    return not (encrypted or not address or ip_address(address.partition("%")[0]).is_loopback)


def _tls(connection: AsyncConnection, end: str, setting: str) -> list[Finding]:
    if not travels_openly(connection.info.hostaddr, encrypted=bool(connection.pgconn.ssl_in_use)):
        return []
    return [
        finding(
            f"{end}-tls-off",
            f"the connection to the {end} is not encrypted, and the server is not on this machine",
            f"add sslmode=require to {setting}",
        )
    ]


def _session(facts: dict[str, Any], connections: int) -> list[Finding]:
    limit, free = facts["database_limit"], facts["free_connections"]
    free = min(free, limit) if limit >= 0 else free
    looked = (
        (
            free < connections,
            "target-connections-few",
            f"the target has {max(0, free)} free connections, and {connections} are needed",
            "end sessions that are not needed, or raise max_connections",
        ),
        (
            facts["time_zone"].upper() not in {"UTC", "ETC/UTC", "GMT", "ZULU"},
            "target-time-zone",
            f"the target's sessions begin in the time zone {facts['time_zone']}; this program's own use UTC, other "
            "programs' defaults for times without a zone would not",
            f"ALTER DATABASE {facts['database']} SET timezone = 'UTC'",
        ),
        (
            facts["read_only"],
            "target-read-only",
            "the target takes no writes: it is a standby, or its sessions are read-only",
            "use the primary server",
        ),
    )
    return [finding(code, message, remedy) for is_so, code, message, remedy in looked if is_so]


async def _letters(connection: AsyncConnection) -> list[Finding]:
    """Whether the database folds Cyrillic letters; in the locale C it does not, and every search by name fails."""
    try:
        folds = await fetch_value(connection, "SELECT lower('Я') = 'я' AND upper('ё') = 'Ё'")
    except psycopg.Error as error:
        if error.sqlstate != "22P05":  # the database's encoding has no such letter
            raise
        folds = False
    if folds:
        return []
    return [
        finding(
            "target-case-mapping",
            "in the target lower('Я') is not 'я', so that no search by name would find Cyrillic names",
            "make the database anew with a UTF-8 locale: CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8' "
            "LOCALE 'C.UTF-8', or ru_RU.UTF-8",
        )
    ]


async def _rights(
    connection: AsyncConnection,
    facts: dict[str, Any],
    tables: Sequence[Table],
    catalog: dict[str, CatalogTable],
    *,
    creates_tables: bool,
) -> list[Finding]:
    role, database = quoted(facts["role"]), quoted(facts["database"])
    here = schemas_of(connection)
    tool = here.tool
    lacks: list[tuple[str, str, str | None]] = []
    if facts["has_tool_schema"]:
        if not facts["may_use_tool_schema"]:
            lacks.append((f"use schema {tool}", f"GRANT USAGE, CREATE ON SCHEMA {tool} TO {role}", None))
    elif not facts["may_create"]:
        lacks.append((f"make the schema {tool}", f"GRANT CREATE ON DATABASE {database} TO {role}", None))
    if not facts["may_temp"]:
        lacks.append(("make temporary tables", f"GRANT TEMP ON DATABASE {database} TO {role}", None))
    if creates_tables and not facts["may_create_tables"]:
        make = "" if here.data == "public" else f"CREATE SCHEMA IF NOT EXISTS {here.data}; "
        lacks.append(("make tables", f"{make}GRANT CREATE ON SCHEMA {here.data} TO {role}", None))
    named = [[table.schema or here.data for table in tables], [table.name for table in tables]]
    for schema, relation, missing, owns in await fetch_rows(connection, _TABLE_RIGHTS, named):
        name = label(None if schema == here.data else schema, relation)
        if missing:
            rights = ", ".join(missing)
            lacks.append((f"{rights} on {name}", f"GRANT {rights} ON {catalog[name].quoted} TO {role}", name))
        if not owns and name in catalog and any(one.kind == "f" for one in catalog[name].constraints):
            lacks.append((f"take the foreign keys of {name} away and put them back", "use the tables' owner", name))
    return [
        finding("target-privilege-missing", f"the target's role {facts['role']} may not {what}", remedy, table=table)
        for what, remedy, table in lacks
    ]

"""What the application's own role may do with the target's tables, and how many of their rows it sees.

A role that does not own a table with row-level security reads no row of it, without an error, unless a policy lets it.
"""

from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.migration.preflight.findings import AppRole, Finding, RoleAtTable, Severity, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.tables.copy_table import identifier_of, name_of, named, quoted
from app.state.fetching import fetch_row, fetch_value

_READING, _WRITING = "SELECT", ("INSERT", "UPDATE", "DELETE")
_POLICY_LETTERS = {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}
# A right on all columns is as good as one on the table. A column's default may ask a sequence for a number.
_RIGHTS = """
SELECT has_schema_privilege(%(role)s, c.relnamespace, 'USAGE'),
    ARRAY(SELECT what FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) what WHERE NOT EXISTS (SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND NOT has_column_privilege(%(role)s, c.oid, a.attnum, what)))
    || CASE WHEN has_table_privilege(%(role)s, c.oid, 'DELETE') THEN '{DELETE}'::text[] END,
    ARRAY(SELECT DISTINCT s.oid::regclass::text FROM pg_attrdef f
        JOIN pg_depend d ON d.objid = f.oid
            AND d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class s ON s.oid = d.refobjid WHERE f.adrelid = c.oid
        AND CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(%(role)s, s.oid, 'USAGE') END),
    ARRAY(SELECT letter::text FROM unnest('{r,a,w,d}'::"char"[]) letter WHERE EXISTS (SELECT FROM pg_policy p
        WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('*', letter) AND EXISTS (
            SELECT FROM unnest(p.polroles) named (oid) WHERE named.oid = 0
            OR pg_has_role(%(role)s, CASE named.oid WHEN 0 THEN 10 ELSE named.oid END, 'USAGE'))))
FROM pg_class c WHERE c.oid = to_regclass(%(table)s)
"""


async def examine_app_role(
    connection: AsyncConnection, role: str, tables: Sequence[Table], catalog: dict[str, CatalogTable]
) -> AppRole:
    """Look at each table of the target as the role sees it, in a read-only transaction that takes the role's place."""
    query = "SELECT quote_ident(current_user), EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
    own, exists = await fetch_row(connection, query, [role])
    if not exists:
        remedy = f"CREATE ROLE {quoted(role)} LOGIN, and then the rights that this look names"
        return AppRole(role, findings=(finding("app-role-missing", f"the target has no role {role}", remedy),))
    found: list[Finding] = []
    takes_its_place = await _takes_its_place(connection, role)
    if not takes_its_place:
        found.append(
            finding(
                "app-role-not-assumed",
                f"the target's role {own} may not take the place of {role}, so that the rows which that sees were not "
                "counted",
                f"GRANT {quoted(role)} TO {own}",
            )
        )
    seen = []
    for table in tables:
        if name_of(table) in catalog and not table.info.get("keys_only"):
            one, of_table = await _at_table(connection, role, table, counts=takes_its_place)
            seen.append(one)
            found += of_table
    return AppRole(role, tuple(seen), tuple(found))


async def _takes_its_place(connection: AsyncConnection, role: str) -> bool:
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


async def _at_table(
    connection: AsyncConnection, role: str, table: Table, *, counts: bool
) -> tuple[RoleAtTable, list[Finding]]:
    name, place = name_of(table), identifier_of(table)
    schema = table.schema or schemas_of(connection).data
    given = {"role": role, "table": named(connection, place)}
    may_use, rights, sequences, policies = await fetch_row(connection, _RIGHTS, given)
    grants = []
    if not may_use:
        grants.append(f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)}")
    lacking = [right for right in (_READING, *_WRITING) if right not in rights]
    shown = f"{quoted(schema)}.{quoted(table.name)}"
    if lacking:
        grants.append(f"GRANT {', '.join(lacking)} ON {shown} TO {quoted(role)}")
    grants += [f"GRANT USAGE ON SEQUENCE {sequence} TO {quoted(role)}" for sequence in sequences]
    reads = may_use and _READING in rights
    found: list[Finding] = []
    if grants:
        lacks = [] if may_use else ["the use of its schema"]
        lacks += lacking + [f"the use of {sequence}" for sequence in sequences]
        message = f"the application's role {role} lacks rights on {name}: {', '.join(lacks)}"
        severity: Severity = "warning" if reads else "error"
        found.append(finding("app-role-privilege-missing", message, "; ".join(grants), table=name, severity=severity))
    secured: bool | None = None
    seen, rows = None, None
    if counts and reads:
        try:
            secured, seen, rows = await _count(connection, role, place)
        except psycopg.Error as error:
            if error.sqlstate is None or connection.broken:
                raise
            secured = True
            found.append(
                finding(
                    "app-role-rows-unknown",
                    f"the policies of {name} stop with SQLSTATE {error.sqlstate} for {role}, so that the rows it sees "
                    "were not counted: they may need claims, or a function that the role may not call",
                    "set the claims as the application does (docs/rights.md), and look with psql",
                    table=name,
                )
            )
    let = {command for command, letter in _POLICY_LETTERS.items() if letter in policies or not secured}
    if secured:
        found += _secured_findings(role, name, shown, let, rights, seen, rows)
    writes = tuple(right for right in _WRITING if may_use and right in rights and right in let)
    return RoleAtTable(name, reads, writes, secured, seen, rows), found


def _secured_findings(
    role: str, name: str, shown: str, let: set[str], rights: list[str], seen: int | None, rows: int | None
) -> list[Finding]:
    """Of a table whose row-level security applies to the role."""
    found = []
    counted = "" if rows is None else f": it sees {seen:,} of {rows:,} rows"
    if _READING not in let:
        found.append(
            finding(
                "app-role-rows-hidden",
                f"row-level security of {name} applies to the application's role {role}, and no policy lets it read"
                f"{counted}",
                f"CREATE POLICY app_reads ON {shown} FOR SELECT TO {quoted(role)} USING (...)",
                table=name,
            )
        )
    elif rows is not None and seen != rows:
        found.append(
            finding(
                "app-role-rows-hidden",
                f"row-level security of {name} applies to the application's role {role}{counted}, without claims",
                "nothing, where the policies are meant so and the application sets its claims (docs/rights.md)",
                table=name,
                severity="warning",
            )
        )
    if refused := [right for right in _WRITING if right in rights and right not in let]:
        found.append(
            finding(
                "app-role-writes-refused",
                f"row-level security of {name} applies to the application's role {role}, and no policy lets it "
                f"{', '.join(refused)}",
                f"CREATE POLICY app_writes ON {shown} TO {quoted(role)} USING (...) WITH CHECK (...)",
                table=name,
            )
        )
    return found


async def _count(connection: AsyncConnection, role: str, place: sql.Identifier) -> tuple[bool, int | None, int | None]:
    """Whether row-level security applies to the role, and then how many rows it sees and how many there are."""
    secured = sql.SQL("SELECT row_security_active({}::regclass)").format(sql.Literal(place.as_string(None)))
    count = sql.SQL("SELECT count(*) FROM {}").format(place)
    async with connection.transaction(force_rollback=True):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await connection.execute("SET LOCAL row_security = on")
        rows = await fetch_value(connection, count)
        await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        if not await fetch_value(connection, secured):
            return False, None, None
        return True, await fetch_value(connection, count), rows

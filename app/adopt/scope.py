"""Chooses what of a database belongs to the project: its schemas, and what they need from outside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import AsyncConnection, sql

from app.errors import MigrationError
from app.migration.inventory.supabase_objects import SCHEMAS
from app.next_step import Command, NextStep

STEP = "adopt"
NOTHING_WRITTEN = "everything; nothing was written"
# Extensions that serve the platform; one of them comes along where something in the chosen schemas depends on it.
PLATFORM_EXTENSIONS = frozenset(
    {"pg_graphql", "supabase_vault", "pgsodium", "pg_stat_statements", "pg_net", "pg_cron", "pgjwt", "pg_repack"}
    | {"pgtle", "wrappers"}
)
# They are made in terms of a request's claims, whatever the source's are.
AUTH_FUNCTIONS = frozenset({"auth.uid()", "auth.role()", "auth.email()", "auth.jwt()"})
AUTH_TABLES = ("users", "identities")
_SCHEMAS = """
SELECT nspname FROM pg_namespace n WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
AND nspname !~ '(^|_)botdata$' AND NOT nspname = ANY (%(managed)s) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
ORDER BY 1
"""
_EXISTING = "SELECT nspname FROM pg_namespace WHERE nspname = ANY (%(schemas)s)"
# Whether something in the chosen schemas depends on a member of the extension.
_EXTENSIONS = """
SELECT e.extname, n.nspname, e.extname <> ALL (%(platform)s) OR EXISTS (
    SELECT FROM pg_depend m JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
    WHERE m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e' AND d.deptype = 'n'
    AND (pg_identify_object(d.classid, d.objid, d.objsubid)).schema = ANY (%(schemas)s))
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY 1
"""
_AUTH = """
SELECT c.oid, c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace('auth') AND c.relname = ANY (%(tables)s)
ORDER BY c.relname DESC
"""
# The roles that policies name; 0 stands for PUBLIC.
_ROLES = """
SELECT DISTINCT r.rolname, r.rolbypassrls, r.rolcanlogin FROM pg_roles r WHERE r.oid IN (
    SELECT unnest(p.polroles) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (%(schemas)s) OR c.oid = ANY (%(tables)s))
OR (%(grants)s AND r.oid IN (
    SELECT a.grantee FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
    WHERE n.nspname = ANY (%(schemas)s) AND a.grantee <> c.relowner
    UNION SELECT a.grantee FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) a
    WHERE n.nspname = ANY (%(schemas)s) AND a.grantee <> p.proowner
    UNION SELECT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = ANY (%(schemas)s)
    UNION SELECT a.grantee FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace,
        aclexplode(d.defaclacl) a
    WHERE n.nspname = ANY (%(schemas)s)
    UNION SELECT d.defaclrole FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace
    WHERE n.nspname = ANY (%(schemas)s))) AND r.rolname !~ '^pg_'
ORDER BY 1
"""
# Foreign keys to what does not come along. Only the columns that they name are needed of it.
_REFERENCED = """
SELECT DISTINCT n.nspname, f.relname, ARRAY(
    SELECT a.attname::text FROM unnest(c.confkey) k JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = k),
    ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM unnest(c.confkey) k
        JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = k)
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace o ON o.oid = t.relnamespace
JOIN pg_class f ON f.oid = c.confrelid JOIN pg_namespace n ON n.oid = f.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0 AND (o.nspname = ANY (%(schemas)s) OR t.oid = ANY (%(tables)s))
AND n.nspname <> ALL (%(schemas)s) AND f.oid <> ALL (%(tables)s)
ORDER BY 1, 2
"""
# What the things in the schemas are made of, where that lies in another schema, and neither PostgreSQL nor an extension
# makes it; and one that needs it. Of a table whose rows are taken or given as they are, all columns are needed.
_NEEDED = """
WITH chosen AS (SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s)), mine AS (
    SELECT 'pg_class'::regclass AS class, oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM chosen)
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM chosen)
    UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM chosen)
    UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
        WHERE connamespace IN (SELECT oid FROM chosen) AND contype <> 'f'
    UNION ALL SELECT h.class, h.oid FROM (
        SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef
        UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_class FROM pg_rewrite
        UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy
        UNION ALL SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger
            WHERE NOT tgisinternal AND oid <> ALL (%(strange)s)
    ) h (class, oid, relation) JOIN pg_class c ON c.oid = h.relation WHERE c.relnamespace IN (SELECT oid FROM chosen)
), needed AS (
    SELECT d.refclassid, d.refobjid, d.refobjsubid, min(pg_describe_object(d.classid, d.objid, d.objsubid)) AS by
    FROM pg_depend d JOIN mine m ON m.class = d.classid AND m.oid = d.objid
    WHERE d.deptype = 'n' AND d.refclassid <> 'pg_namespace'::regclass GROUP BY 1, 2, 3
)
SELECT n.nspname, i.type, i.identity, d.by, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), EXISTS (
        SELECT FROM pg_type y JOIN pg_type z ON z.oid IN (y.oid, y.typelem)
        JOIN pg_namespace o ON o.oid = z.typnamespace
        WHERE y.oid = a.atttypid AND o.nspname <> 'pg_catalog' AND o.nspname <> ALL (%(schemas)s) AND NOT EXISTS (
            SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = z.oid AND e.deptype = 'e')
    ),
    CASE WHEN p.prokind IN ('f', 'p') AND l.lanname IN ('sql', 'plpgsql') THEN pg_get_functiondef(p.oid) END
FROM needed d CROSS JOIN LATERAL pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) i
JOIN pg_namespace n ON quote_ident(n.nspname) = i.schema
LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
LEFT JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_type w ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (w.oid, w.typarray) AND w.typrelid <> 0
LEFT JOIN pg_class c ON c.relkind IN ('r', 'p')
    AND c.oid = CASE d.refclassid WHEN 'pg_class'::regclass THEN d.refobjid ELSE w.typrelid END
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND d.refobjsubid IN (a.attnum, 0)
WHERE n.nspname <> ALL (%(schemas)s) AND n.nspname !~ '^(pg_|information_schema$)'
AND NOT (d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(tables)s))
AND NOT coalesce(w.typrelid = ANY (%(tables)s), false)
AND NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')
ORDER BY 1, c.relname, a.attnum, 3
"""
# Such as Supabase's webhooks: what they call is not there elsewhere.
_STRANGE_TRIGGERS = """
SELECT t.oid, format('%%I on %%I.%%I', t.tgname, n.nspname, c.relname), t.tgfoid::regproc::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace f ON f.oid = p.pronamespace
WHERE NOT t.tgisinternal AND (n.nspname = ANY (%(schemas)s) OR c.oid = ANY (%(tables)s))
AND f.nspname = ANY (%(managed)s) AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
ORDER BY 2
"""
# Their servers, and the passwords for these, are made by hand.
_FOREIGN_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'f' AND n.nspname = ANY (%(schemas)s) ORDER BY 1, 2
"""
_PARTITIONS = """
SELECT n.nspname, p.relname, t.level FROM pg_class c CROSS JOIN LATERAL pg_partition_tree(c.oid) t
JOIN pg_class p ON p.oid = t.relid JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE c.relkind = 'p' AND NOT c.relispartition AND t.level > 0 AND n.nspname = ANY (%(schemas)s)
"""
# Functions that nothing uses, beside another of the same name, and as many arguments as a call may have, that is used:
# where that is called in a policy, say, PostgreSQL's text of the policy does not tell which one is meant.
_OVERLOADS = """
SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY (%(schemas)s)
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid)
AND EXISTS (
    SELECT FROM pg_proc o JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = o.oid
    WHERE o.pronamespace = p.pronamespace AND o.proname = p.proname AND o.oid <> p.oid
    AND o.pronargs BETWEEN p.pronargs - p.pronargdefaults AND p.pronargs)
"""


def quoted(name: str) -> str:
    """A name in SQL, in quotes."""
    return sql.Identifier(name).as_string(None)


@dataclass(frozen=True, slots=True)
class Role:
    """A role that policies or grants name."""

    name: str
    bypasses_row_security: bool
    logs_in: bool

    @property
    def statement(self) -> str:
        """What makes the role; only a role that may make roles can run it."""
        login, bypass = " LOGIN" if self.logs_in else "", " BYPASSRLS" if self.bypasses_row_security else ""
        return f"CREATE ROLE {quoted(self.name)}{login}{bypass};"


@dataclass(frozen=True, slots=True)
class Referenced:
    """A table outside the move, and the columns of it that a foreign key refers to, or a view or a policy reads."""

    schema: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    is_key: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a database is adopted.

    Attributes:
        auth_tables: by oid, the tables of Supabase's users that come along.
        extensions: those that come along, with their schemas.
        functions: outside of the schemas, those that are called in them: schema, name and definition.
        strange_triggers: by oid, those that call a function of Supabase's own, and that function.
        foreign_tables: schemas and names of those that do not come along.
        partitions: schema, name and how many tables are above it, of each.
        late_functions: by oid, those that are made last, when nothing is left that could be taken to call them.
        left_columns: of tables outside, those of a type that does not come along.
        left_extensions: those that serve Supabase itself, and nothing in the schemas.
    """

    schemas: tuple[str, ...]
    auth_tables: dict[int, str]
    extensions: tuple[tuple[str, str], ...]
    left_extensions: tuple[str, ...]
    roles: tuple[Role, ...]
    referenced: tuple[Referenced, ...]
    functions: tuple[tuple[str, str, str], ...]
    strange_triggers: dict[int, tuple[str, str]]
    foreign_tables: tuple[tuple[str, str], ...]
    partitions: tuple[tuple[str, str, int], ...]
    grants: bool
    late_functions: frozenset[int] = frozenset()
    left_columns: tuple[str, ...] = ()


async def read_scope(
    connection: AsyncConnection, schemas: Sequence[str] | None, *, with_auth: bool, grants: bool
) -> Scope:
    """The schemas that were named, or all but those of Supabase and of extensions; and what goes with them.

    Raises:
        MigrationError: a schema is not there or is Supabase's, or there is no table of users to come along.
        psycopg.Error: the server refuses.
    """
    if schemas is None:
        chosen = [name for (name,) in await _fetch(connection, _SCHEMAS, managed=sorted(SCHEMAS))]
    else:
        chosen = list(dict.fromkeys(schemas))
        existing = {name for (name,) in await _fetch(connection, _EXISTING, schemas=chosen)}
        if missing := sorted(set(chosen) - existing):
            raise _refused(f"the database has no schema {', '.join(missing)}", "with --schemas of those it has")
        if managed := sorted(SCHEMAS.keys() & set(chosen)):
            raise _refused(
                f"Supabase makes {', '.join(managed)} itself", "without it in --schemas; --with-auth moves users"
            )
    auth = dict(await _fetch(connection, _AUTH, tables=list(AUTH_TABLES if with_auth else ())))
    if with_auth and "users" not in auth.values():
        raise _refused("the database has no table auth.users", "without --with-auth")
    extensions = await _fetch(connection, _EXTENSIONS, platform=sorted(PLATFORM_EXTENSIONS), schemas=chosen)
    arguments = {"schemas": chosen, "tables": list(auth)}
    roles = await _fetch(connection, _ROLES, **arguments, grants=grants)
    keys = await _fetch(connection, _REFERENCED, **arguments)
    strange = await _fetch(connection, _STRANGE_TRIGGERS, **arguments, managed=sorted(SCHEMAS))
    rows = await _fetch(connection, _NEEDED, **arguments, strange=[oid for oid, _, _ in strange])
    needed = [_Needed(*row) for row in rows]
    for one in needed:
        if not one.column and not one.definition and one.identity not in AUTH_FUNCTIONS:
            way = "with --with-auth, or without what needs it" if one.schema == "auth" else "without what needs it"
            raise _refused(
                f"{one.by} needs the {one.kind} {one.identity}, which does not come along",
                way if one.schema in SCHEMAS else f"with --schemas {','.join([*chosen, one.schema])}",
            )
    columns = [  # those of a whole row are in its order
        Referenced(one.schema, one.table, (one.column,), (one.type,), is_key=False)
        for one in needed
        if one.column and not one.is_strange
    ]
    return Scope(
        schemas=tuple(chosen),
        auth_tables=auth,
        extensions=tuple((name, schema) for name, schema, is_needed in extensions if is_needed),
        left_extensions=tuple(name for name, _, is_needed in extensions if not is_needed),
        roles=tuple(Role(*row) for row in roles),
        referenced=(
            *columns,
            *(Referenced(schema, name, tuple(names), tuple(types), is_key=True) for schema, name, names, types in keys),
        ),
        functions=tuple(
            (one.schema, one.identity, one.definition)
            for one in needed
            if one.definition and one.identity not in AUTH_FUNCTIONS
        ),
        strange_triggers={oid: (name, function) for oid, name, function in strange},
        foreign_tables=tuple(await _fetch(connection, _FOREIGN_TABLES, schemas=chosen)),
        partitions=tuple(await _fetch(connection, _PARTITIONS, schemas=chosen)),
        grants=grants,
        late_functions=frozenset(oid for (oid,) in await _fetch(connection, _OVERLOADS, schemas=chosen)),
        left_columns=tuple(f"{one.schema}.{one.table}.{one.column}" for one in needed if one.is_strange),
    )


class _Needed(NamedTuple):
    """Something outside the schemas that something in them needs.

    Attributes:
        identity: as `pg_identify_object` says it; `by`: what needs it.
        table, column, type: of a column.
        is_strange: its type does not come along.
        definition: of a function.
    """

    schema: str
    kind: str
    identity: str
    by: str
    table: str
    column: str | None
    type: str
    is_strange: bool
    definition: str | None


async def _fetch(connection: AsyncConnection, query: str, **arguments: object) -> list[Any]:
    return await (await connection.execute(query, arguments)).fetchall()


def _refused(message: str, otherwise: str) -> MigrationError:
    return MigrationError(
        message, step=STEP, pending=NOTHING_WRITTEN, next_step=NextStep(Command(STEP), f" {otherwise}")
    )

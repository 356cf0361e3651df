"""Runs a project's revisions on an empty database and compares its catalog with the source's, item by item.

Definitions may differ only in how servers write them. PostgreSQL keeps expressions as trees, and writes their text
anew when it is asked. Two servers write one tree differently: PostgreSQL 16 and later leave out a table's name where 15
has it. And a text can be read into another tree than it was written from: so it is with `status IN ('a', 'b')` of a
varchar. Therefore the scratch database reads the source's text once more, in a transaction that is rolled back, and
writes it in its own way.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from app.adopt.catalog_queries import COMMENTS, GRANTS, QUERIES
from app.adopt.scope import STEP, Scope
from app.adopt.scratch import Scratch
from app.migration.target.target_session import explained
from app.schema.project import upgrade_project
from app.stores.postgres.session import connect

# By kind and name, such as ("index", "public.clients_phone on public.clients").
Catalog = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in which two catalogs differ.

    Attributes:
        source, target: its definition on either side; None: it is not there.
    """

    kind: str
    name: str
    source: str | None
    target: str | None

    def __str__(self) -> str:
        how = "differs" if None not in (self.source, self.target) else "is missing" if self.source else "is new"
        return f"{self.kind} {self.name} {how}"


async def read_catalog(
    connection: AsyncConnection, schemas: Sequence[str], tables: Sequence[int] = (), *, grants: bool = False
) -> Catalog:
    """Everything in the schemas that people make there, with its definition as the server writes it.

    Args:
        tables: oids of relations outside the schemas that belong to it.
        grants: who may do what, too.

    Raises:
        psycopg.Error: the server refuses.
    """
    arguments = {"schemas": list(schemas), "tables": list(tables)}
    catalog: Catalog = {}
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = ''")
        seen: set[tuple[str, int]] = set()
        for kind, (of_catalog, query) in QUERIES.items():
            for name, definition, oid in await (await connection.execute(query, arguments)).fetchall():
                catalog[kind, name] = definition
                seen.add((of_catalog, oid))
        for of_catalog, oid, name, text in await (await connection.execute(COMMENTS)).fetchall():
            if (of_catalog, oid) in seen:
                catalog["comment", name] = text
        if grants:
            rows = await (await connection.execute(GRANTS, arguments)).fetchall()
            catalog |= {("grant", name): definition for name, definition, _ in rows}
    return catalog


def differences(source: Mapping[tuple[str, str], str], target: Mapping[tuple[str, str], str]) -> list[Difference]:
    """What is missing, new or otherwise in the target, in the source's order."""
    every = [*source, *sorted(target.keys() - source.keys())]
    return [Difference(*key, source.get(key), target.get(key)) for key in every if source.get(key) != target.get(key)]


def split_name(name: str, separator: str) -> tuple[str, str]:
    """Both sides of the last separator outside of quotes, as in `schema.table.column` or `policy on schema.table`."""
    last = max(at for at in range(len(name)) if name.startswith(separator, at) and name.count('"', 0, at) % 2 == 0)
    return name[:last], name[last + len(separator) :]


_COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
# What of a definition is an expression.
_EXPRESSIONS = {
    "table": ("view",), "column": ("default",), "constraint": ("is",), "index": ("is",), "policy": ("using", "check"),
    "type": ("default",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Question:
    """The source's text, given to the scratch database; the item `key` then has the answer.

    Attributes:
        alias: what is called so in the answer has the name `name`.
    """

    statements: tuple[str, ...]
    key: tuple[str, str]
    alias: str = ""
    name: str = ""


async def without_rewordings(
    connection: AsyncConnection, found: Sequence[Difference], schemas: Sequence[str], tables: Sequence[int]
) -> list[Difference]:
    """The differences that remain once the scratch database has read the source's text.

    Args:
        connection: a session at the scratch database, in autocommit.

    Raises:
        psycopg.Error: the connection was lost.
    """
    asked: list[tuple[Difference, _Question]] = []
    async with connection.transaction(force_rollback=True):
        await connection.execute("SET LOCAL search_path = ''; SET LOCAL check_function_bodies = false")
        for one in found:
            question = _question(one)
            if question is None:
                continue
            read = [await taken(connection, statement) for statement in question.statements]
            # What is made under another name may have come with that of a table above.
            if any(read) or question.alias:
                asked.append((one, question))
        again = await read_catalog(connection, schemas, tables) if asked else {}
    same = [one for one, question in asked if _is_same(one, question, again)]
    return [one for one in found if one not in same]


def _question(one: Difference) -> _Question | None:
    """How to ask for the wording; None where more than that differs."""
    if one.source is None or one.target is None:
        return None
    said = json.loads(one.source) if one.kind in _EXPRESSIONS else {}
    present = json.loads(one.target) if said else {}
    if any(present[part] != text for part, text in said.items() if part not in _EXPRESSIONS[one.kind]):
        return None
    key = (one.kind, one.name)
    match one.kind:
        case "function" if one.source.startswith("CREATE"):
            return _Question((one.source,), key)
        case "rule":
            rule = one.source.partition(" ")[2].replace("CREATE RULE", "CREATE OR REPLACE RULE", 1)
            return _Question((rule,), key)
        case "statistics":
            return _Question((f"DROP STATISTICS {one.name}; {one.source.rpartition(' ')[0]}",), key)
        case "type":
            return _Question((f"ALTER DOMAIN {one.name} SET DEFAULT {said['default']}",), key)
        case "table":
            alias = f"{split_name(one.name, '.')[0]}.{_alias(one.name, one.source)}"
            query = said["view"].rstrip(";")
            kind, data = ("MATERIALIZED VIEW", " WITH NO DATA") if said["kind"] == "m" else ("VIEW", "")
            return _Question((f"CREATE {kind} {alias} AS {query}{data}",), ("table", alias), alias, one.name)
        case "column" if not said["generated"]:
            table, column = split_name(one.name, ".")
            return _Question((f"ALTER TABLE ONLY {table} ALTER {column} SET DEFAULT {said['default']}",), key)
        case "column" | "constraint" | "index" | "trigger" | "policy":
            return _beside(one, said)
    return None


def _beside(one: Difference, said: dict[str, Any]) -> _Question:
    """Asks by making the same under another name; heirs and partitions get it with their parent."""
    name, table = split_name(one.name, "." if one.kind == "column" else " on ")
    if one.kind == "column":
        name, table = table, name
    assert one.source is not None
    alias = _alias(name, one.source)
    key = (one.kind, f"{alias} on {table}")
    match one.kind:
        case "column":
            kind = "STORED" if said["generated"] == "s" else "VIRTUAL"
            added = f"ADD {alias} {said['type']} GENERATED ALWAYS AS ({said['default']}) {kind}"
            return _Question((f"ALTER TABLE {table} {added}",), ("column", f"{table}.{alias}"), alias, name)
        case "constraint":
            added = f"{table} ADD CONSTRAINT {alias} {said['is']}"
            return _Question((f"ALTER TABLE {added}", f"ALTER DOMAIN {added}"), key, alias, name)
        case "index":
            schema, name = split_name(name, ".")
            made = said["is"].replace(f" INDEX {name} ON ", f" INDEX {alias} ON ", 1)
            return _Question((made,), ("index", f"{schema}.{alias} on {table}"), alias, name)
        case "trigger":
            made = one.source.partition(" ")[2].replace(f" TRIGGER {name} ", f" TRIGGER {alias} ", 1)
            return _Question((made,), key, alias, name)
    return _Question((policy_statement(alias, table, said),), key, alias, name)


def _alias(name: str, source: str) -> str:
    """A name that nothing has; the same for the same of heirs."""
    return f"botdata_{sha256((name + source).encode()).hexdigest()[:16]}"


def policy_statement(name: str, table: str, said: Mapping[str, Any]) -> str:
    """What makes a policy, as the catalog's item describes it."""
    to = ", ".join("PUBLIC" if role == "public" else sql.Identifier(role).as_string(None) for role in said["to"])
    kind = "PERMISSIVE" if said["permissive"] else "RESTRICTIVE"
    using = f" USING ({said['using']})" if said["using"] else ""
    check = f" WITH CHECK ({said['check']})" if said["check"] else ""
    return f"CREATE POLICY {name} ON {table} AS {kind} FOR {_COMMANDS[said['for']]} TO {to}{using}{check};"


async def taken(connection: AsyncConnection, statement: str) -> bool:
    """Whether the server takes a statement; what it does stays until the end of the surrounding transaction."""
    try:
        async with connection.transaction():
            await connection.execute(statement.encode())
    except psycopg.Error:
        if connection.closed:
            raise
        return False
    return True


def _is_same(one: Difference, question: _Question, again: Catalog) -> bool:
    answer = again.get(question.key)
    assert one.source is not None
    assert one.target is not None
    if answer is None:
        return False
    if one.kind not in _EXPRESSIONS:
        if question.alias:  # a trigger's first letter says whether it is on, which its statement does not
            answer = one.source[:1] + answer[1:].replace(f" {question.alias} ", f" {question.name} ", 1)
        return answer == one.target
    said, now = json.loads(one.source), json.loads(answer)
    for part in _EXPRESSIONS[one.kind]:
        said[part] = now[part]
        if one.kind == "index":
            said[part] = now[part].replace(f" INDEX {question.alias} ON ", f" INDEX {question.name} ON ", 1)
    return bool(said == json.loads(one.target))


_AUTH_OIDS = "SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('auth') AND relname = ANY (%(names)s)"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the comparison found.

    Attributes:
        items: how many were compared.
        where: on which database.
    """

    differences: tuple[Difference, ...]
    items: int
    where: str


async def source_catalog(connection: AsyncConnection, scope: Scope) -> Catalog:
    """The catalog of what is adopted; psycopg.Error where the server refuses."""
    return await read_catalog(connection, scope.schemas, list(scope.auth_tables), grants=scope.grants)


async def prove(source: Catalog, scope: Scope, scratch: Scratch, directory: Path) -> Proof:
    """Upgrade the scratch database to the project's newest revision, and compare.

    Raises:
        MigrationError: a revision cannot be run; says why.
    """
    await upgrade_project(directory / "alembic.ini", scratch.url, step=STEP)
    with explained(STEP, setting="the scratch database", pending="the proof"):
        async with await connect(scratch.url, setting="the scratch database", step=STEP) as connection:
            names = {"names": list(scope.auth_tables.values())}
            oids = [oid for (oid,) in await (await connection.execute(_AUTH_OIDS, names)).fetchall()]
            made = await read_catalog(connection, scope.schemas, oids, grants=scope.grants)
            found = await without_rewordings(connection, differences(source, made), scope.schemas, oids)
    return Proof(tuple(found), len(source), scratch.where)

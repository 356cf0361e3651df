"""A source over REST: its tables and columns from the root document, else from its answers and errors.

Each request is tried again where its failure can pass.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy import Table

from app.common.background import BackgroundTasks
from app.errors import AccessDeniedError, CountTimeoutError, NotReachedError, SchemaMismatchError, StoreError
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.source_schema import SourceSeen, SourceTable
from app.migration.preflight.schemas.type_passages import catalog_name
from app.migration.sources.rest.part_reader import count_in_time
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import records_of
from app.migration.tables.copy_table import label, name_of
from app.migration.tables.grants import SERVICE_ROLE, grant_of, grant_select, grant_usage, schema_denied
from app.migration.target.target_session import EXPOSE_SCHEMA
from app.stores.supabase.answers import total_told
from app.stores.supabase.errors import SCHEMA_NOT_EXPOSED
from app.stores.supabase.grammar import quoted_name
from app.stores.supabase.request_parameters import selected

# More rows than any server gives by default, so that an answer with fewer than there are shows the cap.
_MORE_THAN_ANY_CAP = 100_000


async def see_rest(source: RestSource, tables: Sequence[Table], *, role: str = SERVICE_ROLE) -> SourceSeen:
    """Look at the source: the root document, and one row and the count of each table.

    Args:
        role: that of the key, which rights are granted to.

    Raises:
        StoreError: it cannot be reached, or refuses the key.
    """
    schemas = dict.fromkeys(table.schema or "public" for table in tables)
    definitions = {
        label(schema, name): definition
        for schema in schemas
        for name, definition in (await _root_definitions(source, schema)).items()
    }
    seen = SourceSeen(arguments_known=False, role=role)
    limit = asyncio.Semaphore(4)

    async def look(table: Table) -> SourceTable | None:
        async with limit:
            return await TableLooker(source, table, seen).look(definitions.get(name_of(table)))

    looks = BackgroundTasks()
    try:
        for there in await asyncio.gather(*(looks.start(look(table)) for table in tables)):
            if there is not None:
                seen.tables[there.name] = there
    finally:  # where one has failed, the others would try again as often, and fail too
        await looks.end()
    order = [name_of(table) for table in tables]
    seen.findings.sort(key=lambda one: order.index(one.table or order[0]))
    if definitions:
        seen.others = sorted(definitions.keys() - {name_of(table) for table in tables})
    else:
        seen.findings.append(
            finding(
                "source-types-unseen",
                "the server describes no tables, so the source's types, and tables that are not copied, were not seen",
                "to have them compared: botdata preflight --source postgresql://...",
            )
        )
    seen.findings += await _row_cap(source, tables, seen)
    return seen


async def _root_definitions(source: RestSource, schema: str) -> dict[str, dict[str, Any]]:
    """The OpenAPI definitions of a schema by table; empty where the server gives none."""
    try:
        return await source.patiently(lambda: source.rest.described_tables(schema))
    except NotReachedError:
        raise
    except StoreError:
        return {}


def _type(column: dict[str, Any]) -> str | None:
    text = column.get("format")
    if not isinstance(text, str):
        return None
    length = column.get("maxLength")
    name = catalog_name(text)
    return f"{name}({length})" if isinstance(length, int) and not name.endswith(("]", ")")) else name


async def _row_cap(source: RestSource, tables: Sequence[Table], seen: SourceSeen) -> list[Finding]:
    """Ask for every key of the largest table at once: fewer than there are show the server's row cap."""
    counted = [one for one in seen.tables.values() if one.rows]
    if not counted:
        return []
    largest = max(counted, key=lambda one: one.rows or 0)
    table = next(table for table in tables if name_of(table) == largest.name)
    key = table.primary_key.columns.keys()
    if not key or key[0] in {*largest.missing, *largest.denied}:
        return []
    builder = selected(
        source.rest.table(table.name, table.schema or "public"), f"_0:{quoted_name(key[0])}::text"
    ).limit(_MORE_THAN_ANY_CAP)
    given = len(await source.patiently(lambda: source.rest.rows(builder)))
    total = largest.rows or 0
    if given >= min(total, _MORE_THAN_ANY_CAP):
        return []
    return [
        finding(
            "source-row-cap",
            f"the server gives {given:,} rows at a time ({largest.name} has {total:,})",
            "nothing: pages are as large as the server lets them be",
        )
    ]


_NO_TABLE = {"42P01", "PGRST205"}
_NO_COLUMN = {"42703", "PGRST204"}
_MOST_SELECTED = 2000  # bytes of a select list in one address


class TableLooker:
    """Looks at one table; what stands in its way becomes a finding, so that the others are judged all the same."""

    def __init__(self, source: RestSource, table: Table, seen: SourceSeen) -> None:
        self._source = source
        self._table = table
        self._schema = table.schema or "public"
        self._name = name_of(table)
        self._seen = seen

    async def look(self, described: dict[str, Any] | None) -> SourceTable | None:
        """What one row, the exact count and the server's description tell; None where nothing can be told.

        Args:
            described: by the server; None: it is not.
        """
        there, in_part = SourceTable(self._name), False
        try:
            try:
                records, there.rows = await self._first("*")
            except AccessDeniedError as error:
                if error.sqlstate != "42501":
                    raise
                readable, there.denied = await self._columns(error)
                if not readable:
                    return None
                in_part = True  # some column may not be read, of the models or not
                records, there.rows = await self._first(quoted_name(readable[0]))
        except SchemaMismatchError as error:
            if error.sqlstate == SCHEMA_NOT_EXPOSED:
                remedy = f"{EXPOSE_SCHEMA}; or leave {self._name} out: --tables"
                self._find("source-schema-not-exposed", f"{error}, so that {self._name} cannot be read", remedy)
                self._seen.unjudged.add(self._name)
                return None
            if error.sqlstate in _NO_TABLE or error.sqlstate is None:
                return None
            raise
        there.uncounted = there.rows is None
        wanted = [column.name for column in self._table.columns if column.name not in there.denied]
        if described is not None:
            properties = described.get("properties", {})
            there.columns = {name: _type(each) for name, each in properties.items()}
            there.missing = [name for name in wanted if name not in properties]
            # So PostgREST marks the columns of a primary key.
            there.primary_key = {name for name, each in properties.items() if "<pk/>" in str(each.get("description"))}
        elif records and not in_part:
            there.columns = dict.fromkeys(records[0])
            there.missing = [name for name in wanted if name not in records[0]]
        else:
            there.complete, there.in_part = False, in_part
            there.missing = await self._missing(wanted)
            there.columns = {name: None for name in wanted if name not in there.missing}
        return there

    async def _missing(self, columns: Sequence[str]) -> list[str]:
        """Those that the server does not know: as many as an address holds at once, and singly after a failure."""
        missing: list[str] = []
        for some in _in_addresses(columns):
            if not await self._knows(some):
                missing += [name for name in some if not await self._knows([name])]
        return missing

    async def _first(self, select: str) -> tuple[list[dict[str, Any]], int | None]:
        builder = selected(self._source.rest.table(self._table.name, self._schema), select).limit(1)

        async def ask() -> tuple[list[dict[str, Any]], int | None]:
            response = await self._source.rest.respond(builder, headers={"Prefer": "count=exact"})
            return records_of(response.content), total_told(response.headers)

        try:
            return await count_in_time(self._source.patiently, self._name, ask)
        except CountTimeoutError as error:
            self._find(
                "source-count-unknown",
                f"the API does not let the exact count end: {error}",
                "nothing: a copy lists the keys instead, which takes longer; or read the database itself: "
                "--source postgresql://...",
            )
        return records_of(await self._source.patiently(lambda: self._source.rest.send(builder))), None

    async def _columns(self, error: AccessDeniedError) -> tuple[list[str], list[str]]:
        """The columns that may be read and those that may not, each of which becomes a finding."""
        role, words = self._seen.role, f"the API's role {self._seen.role} may not"
        if schema := schema_denied(str(error)):
            remedy = f"{grant_usage(schema, role)}; {grant_select(self._schema, self._table.name, role)}"
            self._find("source-privilege-missing", f"{words} use schema {schema}, where {self._name} is", remedy)
            self._seen.unjudged.add(self._name)
            return [], []
        readable, denied = [], []
        for name in [column.name for column in self._table.columns]:
            try:
                if await self._knows([name]):
                    readable.append(name)
            except AccessDeniedError as refused:
                if refused.sqlstate != "42501":
                    raise
                denied.append(name)
        if not readable:
            remedy = grant_of(str(error), self._name, role=role, writing=False)
            self._find("source-privilege-missing", f"{words} read {self._name}", remedy)
            self._seen.unjudged.add(self._name)
        for name in denied if readable else ():
            remedy = grant_select(self._schema, self._table.name, role)
            self._find("source-privilege-missing", f"{words} read {self._name}.{name}", remedy, column=name)
        return readable, denied

    async def _knows(self, columns: Sequence[str]) -> bool:
        request = self._source.rest.table(self._table.name, self._schema)
        builder = selected(request, ",".join(map(quoted_name, columns))).limit(0)
        try:
            await self._source.patiently(lambda: self._source.rest.send(builder))
        except SchemaMismatchError as error:
            if error.sqlstate in _NO_COLUMN:
                return False
            raise
        return True

    def _find(self, code: str, message: str, remedy: str, column: str | None = None) -> None:
        self._seen.findings.append(finding(code, message, remedy, table=self._name, column=column))


def _in_addresses(columns: Sequence[str]) -> list[list[str]]:
    """The columns, as many at a time as one address holds."""
    parts: list[list[str]] = []
    size = 0
    for name in columns:
        length = len(quote(quoted_name(name), safe="")) + 3
        if not parts or size + length > _MOST_SELECTED:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += length
    return parts

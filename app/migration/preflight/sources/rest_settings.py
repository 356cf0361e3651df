"""A source over REST: whether its settings write values as the target reads them, and its keys can be asked for."""

from collections.abc import Sequence

from sqlalchemy import Table

from app.errors import MigrationError, StoreError
from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.source_schema import SourceSeen
from app.migration.preflight.schemas.type_passages import is_builtin, model_type
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.rest.text_settings import require_readable_texts
from app.migration.tables.copy_table import CopyColumn, CopyTable, key_columns, name_of
from app.next_step import Command

_UNUSABLE = {"0A000": "a composite type", "42883": "its type has no operator > that the API would find"}  # by SQLSTATE
_PAGES = 2  # the second one is asked for by the key
# Names of types as format_type gives them, and as pg_type does, where the two differ.
_TYPNAMES = {
    "double precision": "float8",
    "real": "float4",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


async def settings_findings(source: RestSource, tables: Sequence[Table], seen: SourceSeen) -> list[Finding]:
    """What a copy would stop for, and what it cannot tell."""
    unseen: list[str] = []
    described = [one for table in tables if (one := _described(table, seen)) is not None]
    try:
        await require_readable_texts(source, described, unseen.append, step="preflight")
    except MigrationError as error:
        return [
            finding(
                "source-settings-differ", error.message, str(error.next_step or Command("preflight")), table=error.table
            )
        ]
    return [
        finding("source-settings-unseen", message, "nothing, if the source has PostgreSQL's defaults")
        for message in unseen
    ]


async def key_findings(source: RestSource, tables: Sequence[Table], seen: SourceSeen) -> list[Finding]:
    """Keys by which rows cannot be asked for: a copy would stop after its first page.

    PostgREST leaves the type of a value to PostgreSQL, which cannot tell which composite type is meant where all of
    them share an operator. A type such as hstore sorts by operators of its own, and not by the one that is asked with.
    """
    found = []
    for table in tables:
        described = _described(table, seen)
        if described is None or all(is_builtin(column.type) for column in described.key):
            continue
        try:
            pages = source.key_pages(described)
            for _ in range(_PAGES):
                await anext(pages, None)
        except StoreError as error:
            if error.sqlstate not in _UNUSABLE:
                raise
            names = ", ".join(column.name for column in described.key)
            found.append(
                finding(
                    "source-key-unusable",
                    f"rows of {described.name} cannot be asked for over REST by their key ({names}): "
                    f"{_UNUSABLE[error.sqlstate]}",
                    "--source postgresql://..., or leave it out with --tables",
                    table=described.name,
                )
            )
    return found


def _described(table: Table, seen: SourceSeen) -> CopyTable | None:
    """The table as the models have it, without columns that the source lacks or denies; None where it has no key."""
    there = seen.tables.get(name_of(table))
    key = key_columns(table)
    if there is None or not key:
        return None
    absent = {*there.missing, *there.denied}
    names = [*key, *(one.name for one in table.columns if one.name not in key and one.name not in absent)]
    if absent.intersection(key):
        return None
    columns = tuple(_column(name, model_type(table.columns[name]) or "") for name in names)
    return CopyTable(table.schema or "public", table.name, columns, len(key), False, False)


def _column(name: str, type_name: str) -> CopyColumn:
    """A column, its type's parts as far as the model tells them: an array's are its own and its element's."""
    plain = type_name.removesuffix("[]").partition("(")[0]
    parts = {type_name, _TYPNAMES.get(plain, plain)}
    return CopyColumn(name, type_name, False, parts=frozenset(parts))

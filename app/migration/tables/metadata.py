"""The tables to move: this project's models, or another's, and those chosen of them, parents before children."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Computed,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.schema import sort_tables_and_constraints
from sqlalchemy.types import NullType, UserDefinedType

from app.errors import MigrationError, SettingsError
from app.migration.tables import models_description
from app.migration.tables.copy_table import name_of
from app.next_step import NextStep

_PATIENCE = 120.0  # seconds: models that are reflected ask a server for each table


class NamedType(UserDefinedType[str]):
    """A type of the project's by its name alone: values travel as text, so that nothing more need be known of it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: object) -> str:
        """The name, as DDL has it."""
        return self.name


def load_metadata(name: str | None) -> MetaData:
    """The MetaData of a declarative base, or one by itself.

    Another project's is imported in a process of its own, with the working directory first: its package may be called
    `app`, as ours is, and print, hang or leave. What comes back is names, keys and types; nothing else of it is used.

    Args:
        name: "package.module:Base" or "package.module:metadata"; None for the bot's own models.

    Raises:
        SettingsError: it cannot be imported, is no MetaData, or holds no table; says which.
    """
    if name is None:
        from app.models import Base

        return Base.metadata
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise SettingsError(f"--metadata is {name!r}; it should look like package.module:Base")
    described = _describe(name)
    if "error" in described:
        raise SettingsError(f"--metadata: {described['error']}")
    if not described["tables"]:
        raise SettingsError(
            f"--metadata: {name} holds no table: name a module that imports the models, since a base knows only those "
            "that are imported"
        )
    metadata = MetaData()
    for table in described["tables"]:
        _add_table(metadata, table)
    return metadata


def _describe(name: str) -> dict[str, Any]:
    """What `models_description` says, in a process of its own."""
    here = str(Path.cwd())
    path = json.dumps([here, *(entry for entry in sys.path if entry not in {"", here})])
    command = [sys.executable, "-P", models_description.__file__, name, path]
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and a file of ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"{name.partition(':')[0]} was not imported within {_PATIENCE:g} s"}
    try:
        described: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"error": f"{name.partition(':')[0]} ended Python while it was imported, with code {done.returncode}"}
    return described


def _add_table(metadata: MetaData, described: dict[str, Any]) -> None:
    table = Table(
        described["name"],
        metadata,
        *map(_column, described["columns"]),
        PrimaryKeyConstraint(*described["primary_key"]),
        *(UniqueConstraint(*one["columns"], deferrable=one["deferrable"]) for one in described["unique"]),
        *(
            ForeignKeyConstraint(one["columns"], one["refers_to"], name=one["name"], use_alter=one["use_alter"])
            for one in described["foreign_keys"]
        ),
        schema=described["schema"],
        info=described["info"],
    )
    for index in described["indexes"]:
        Index(
            index["name"],
            *(table.columns[key] for key in index["columns"]),
            *([text("expression")] if index["of_expressions"] else []),
            unique=True,
            postgresql_where=text("condition") if index["partial"] else None,
        )


def _column(described: dict[str, Any]) -> Column[Any]:
    named = described["type"]
    return Column(
        described["name"],
        NullType() if named is None else NamedType(named),
        *([Computed("expression")] if described["computed"] else []),
        key=described["key"],
        nullable=described["nullable"],
        info=described["info"],
    )


def select_tables(
    metadata: MetaData, *, names: Sequence[str] | None = None, groups: Iterable[str] | None = None
) -> list[Table]:
    """Tables to move, parents before children: those named, else those of the groups, else all.

    Raises:
        MigrationError: a name that is not a table's, and which names are; two tables of one name; no table at all, or
            none of the groups; a column that the models know by another name than its own.
    """
    tables = _in_order(metadata)
    if not tables:
        raise _not_chosen(
            "the models hold no table",
            "the same command, with a --metadata whose models are imported when its module is",
        )
    other = next((one for table in tables for one in table.columns if one.key != one.name), None)
    if other is not None:
        raise _not_chosen(
            f"the models know {name_of(other.table)}.{other.name} by another key, {other.key}; columns go by name here",
            "take the column's key= out of the models, then: the same command",
        )
    by_name = {name_of(table): table for table in tables}
    if len(by_name) < len(tables):
        twice = sorted(name for name in by_name if sum(name_of(table) == name for table in tables) > 1)
        raise _not_chosen(
            f"the models hold tables of one name twice: {', '.join(twice)}",
            "the same command, with a --metadata that holds each once",
        )
    if names is not None:
        if not names:
            raise _not_among("no table is named", by_name)
        chosen = {name: find_table(name, by_name) for name in names}
        if unknown := sorted(name for name, found in chosen.items() if found is None):
            raise _not_among(f"no such table: {', '.join(unknown)}", by_name)
        return [table for table in tables if table in chosen.values()]
    wanted = None if groups is None else set(groups)
    of_groups = [table for table in tables if wanted is None or table.info.get("group") in wanted]
    if not of_groups:
        raise _not_among(f"no table is of the group {', '.join(sorted(wanted or ()))}", by_name)
    return of_groups


def find_table(name: str, by_name: Mapping[str, Table]) -> Table | None:
    """The table that a name is given for; without its schema too, where only one schema has a table of that name."""
    if name in by_name:
        return by_name[name]
    without_schema = [table for table in by_name.values() if table.name == name]
    return without_schema[0] if len(without_schema) == 1 else None


def _not_among(message: str, known: Iterable[str]) -> MigrationError:
    return _not_chosen(
        f"{message}; the tables are {', '.join(sorted(known))}", "the same command, with --tables of these"
    )


def _not_chosen(message: str, next_step: str) -> MigrationError:
    return MigrationError(
        message,
        step="choose tables",
        pending="everything; nothing was read or written",
        next_step=NextStep(next_step),
    )


def _in_order(metadata: MetaData) -> list[Table]:
    """All tables, parents before children; within a cycle of foreign keys in any order that does not change."""
    by_name = sorted(metadata.tables.values(), key=lambda table: table.key)
    ordered = sort_tables_and_constraints(by_name, filter_fn=_leads_nowhere)  # type: ignore[no-untyped-call]
    return [table for table, _ in ordered if table is not None]


def _leads_nowhere(constraint: ForeignKeyConstraint) -> bool | None:
    """Whether a foreign key names a table that is not among the models, such as auth.users: it orders nothing then."""
    try:
        constraint.referred_table  # noqa: B018 - it is looked up here
    except NoReferencedTableError:
        return True
    return None

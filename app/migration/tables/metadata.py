"""The tables to move, named on the command line: this project's models, or another's."""

import json
import subprocess
import sys
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
from sqlalchemy.types import NullType, UserDefinedType

from app.errors import SettingsError
from app.migration.tables import models_description

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

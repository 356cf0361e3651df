"""Tables for the streams of the tests."""

from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.metadata import select_tables


def one(*columns: Any, name: str = "t") -> list[Table]:
    """A table of a project."""
    metadata = MetaData()
    Table(name, metadata, *columns)
    return select_tables(metadata)


def named(*names: str) -> list[Table]:
    """Tables with a key `id` and a text `v`."""
    metadata = MetaData()
    for name in names:
        Table(name, metadata, Column("id", Integer, primary_key=True), Column("v", Text))
    return select_tables(metadata)


PLAIN = named("t")
SCHEMA = "CREATE TABLE t (id integer PRIMARY KEY, v text)"
ROWS = "INSERT INTO t SELECT n, 'old' FROM generate_series(1, 9) n"

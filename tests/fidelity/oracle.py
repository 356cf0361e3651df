"""Compares two databases by itself: every row as text under fixed settings, counts, sequences and views.

It shares no code with the program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import psycopg

from tests.fidelity.pair import Moved, Named, Pair, quoted

_SETTINGS = {
    "TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "extra_float_digits": "3",
    "bytea_output": "hex", "lc_monetary": "C", "xmloption": "content", "search_path": "", "client_encoding": "UTF8",
    "default_transaction_read_only": "on", "default_transaction_isolation": "repeatable read", "row_security": "off",
    "quote_all_identifiers": "off", "statement_timeout": "30000",
}  # fmt: skip
_SHOWN = 3

What = Literal["missing", "extra", "gone", "sequence", "view"]


@dataclass(frozen=True)
class Disagreement:
    """One way in which two databases are not the same.

    Attributes:
        what: rows of the source that the target lacks, rows that only the target has, a table that is not there, a
            sequence that would give a number again, or a materialized view whose rows are not its query's.
        name: of the relation, without its schema.
        rows: how many.
        shown: some of it, for a message.
    """

    what: What
    name: str
    rows: int
    shown: str

    def __str__(self) -> str:
        return f"{self.what} {self.rows} in {self.name}: {self.shown}"


def compare(source: str, target: str, pair: Pair) -> list[Disagreement]:
    """All that is not the same; URLs of roles that see every row."""
    with _open(source) as ours, _open(target) as theirs:
        found = [one for table in pair.tables for one in _rows(ours, theirs, table)]
        found += [one for sequence in pair.sequences for one in _sequence(ours, theirs, sequence)]
        found += [one for view in pair.views for one in _view(ours, theirs, view)]
    return found


def of_rows(found: Iterable[Disagreement]) -> list[Disagreement]:
    """Those in rows of tables."""
    return [one for one in found if one.what in {"missing", "extra", "gone"}]


def is_empty(url: str, tables: Iterable[Moved]) -> bool:
    """Whether none of the tables has a row."""
    with _open(url) as connection:
        return not any((rows := _texts(connection, table)) and rows.total() for table in tables)


def quarantined(url: str) -> int:
    """How many rows the program keeps in quarantine."""
    with _open(url) as connection:
        if connection.execute("SELECT to_regclass('botdata.quarantine') IS NULL").fetchone() == (True,):
            return 0
        row = connection.execute("SELECT count(*) FROM botdata.quarantine").fetchone()
        return int(row[0]) if row else 0


def _open(url: str) -> psycopg.Connection:
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in _SETTINGS.items())
    return psycopg.connect(url, options=options, autocommit=True)


def _rows(ours: psycopg.Connection, theirs: psycopg.Connection, table: Moved) -> list[Disagreement]:
    here, there = _texts(ours, table), _texts(theirs, table)
    if here is None or there is None:
        side = "source" if here is None else "target"
        return [Disagreement("gone", table.name, 1, f"no such table, or not such columns, in the {side}")]
    found = []
    kinds: tuple[tuple[What, Counter[tuple[str | None, ...]]], ...] = (
        ("missing", here - there),
        ("extra", there - here),
    )
    for what, rows in kinds:
        if rows:
            found.append(Disagreement(what, table.name, rows.total(), str(sorted(rows, key=str)[:_SHOWN])[:400]))
    return found


def _texts(connection: psycopg.Connection, table: Moved) -> Counter[tuple[str | None, ...]] | None:
    """Each row as the texts of its columns, with how often it is there; without the rows of children."""
    kind = connection.execute(
        "SELECT relkind FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relname = %s",
        [quoted(table.schema), table.name],
    ).fetchone()
    if kind is None:
        return None
    columns = ", ".join(f"{quoted(name)}::pg_catalog.text" for name in table.columns)
    only = "" if kind[0] in ("p", b"p") else "ONLY "  # the root of partitions has no rows but theirs
    try:
        rows = connection.execute(f"SELECT {columns} FROM {only}{table.sql}".encode()).fetchall()
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable):
        return None
    return Counter(rows)


def _sequence(ours: psycopg.Connection, theirs: psycopg.Connection, sequence: Named) -> list[Disagreement]:
    query = (
        "SELECT CASE WHEN s.is_called THEN s.last_value + p.seqincrement ELSE s.last_value END, p.seqincrement "
        f"FROM {sequence.sql} s, pg_sequence p WHERE p.seqrelid = '{sequence.sql}'::regclass"
    )
    rows = [connection.execute(query.encode()).fetchone() for connection in (ours, theirs)]
    (here, step), (there, _) = (row or (0, 1) for row in rows)
    if (there - here) * step >= 0:
        return []
    return [Disagreement("sequence", sequence.name, 1, f"the next is {here} at the source, {there} at the target")]


def _view(ours: psycopg.Connection, theirs: psycopg.Connection, view: Named) -> list[Disagreement]:
    query = f"SELECT v::pg_catalog.text FROM {view.sql} v"
    try:
        here, there = (Counter(connection.execute(query.encode()).fetchall()) for connection in (ours, theirs))
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.UndefinedTable) as error:
        return [Disagreement("view", view.name, 1, str(error).partition("\n")[0])]
    if here == there:
        return []
    return [
        Disagreement("view", view.name, (here - there).total(), f"{here.total()} rows, at the target {there.total()}")
    ]

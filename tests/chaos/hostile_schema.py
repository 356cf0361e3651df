"""A source whose names, values and errors mean harm: its tables, its rows, and the module that `--metadata` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

# Each at most 40 bytes, since a name has room for 63 and carries more than one of these.
PAYLOADS = (
    'x"; DROP TABLE victims; --',
    "'; DROP TABLE victims; --",
    "\x1b[2J\x1b]0;owned\x07",
    "[bold red]b[/] [/] [link=x]",
    "<script>alert(1)</script>",
    "\u202eevil\u2066 \x9b31m\x85\x7f",
    "%s %(x)s {0} :name $1 ?",
    "a,b.c(d)::text=eq.1&select=*",
    "line\nbreak\r\ttab\x08\x08",
    "$$; DROP TABLE victims; $$",
    '\\"x\\ \\" * %',
    "--help /* ; */ #",
)
VICTIMS = "CREATE TABLE victims (id int PRIMARY KEY); INSERT INTO victims SELECT generate_series(1, 7);"


@dataclass(frozen=True)
class HostileSchema:
    """Two tables and what is on them, all named by one payload."""

    payload: str

    @property
    def table(self) -> str:
        """The parent's name."""
        return f"t {self.payload}"

    @property
    def child(self) -> str:
        """The child's name."""
        return f"c {self.payload}"

    def ddl(self) -> sql.Composed:
        """The tables, alike on both sides."""
        return sql.SQL(
            'CREATE TABLE {table} ({key} text COLLATE "C" PRIMARY KEY, {value} text, {number} integer);'
            'CREATE TABLE {child} (id integer PRIMARY KEY, {parent} text COLLATE "C" '
            "CONSTRAINT {fk} REFERENCES {table}, {value} text); CREATE INDEX {index} ON {child} ({value});"
        ).format(**self._names())

    def traps(self) -> sql.Composed:
        """What refuses some of the rows in the target: a constraint of a hostile name, and a hostile message."""
        return sql.SQL(
            "ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({number} <> 3);"
            "CREATE FUNCTION {trap}(id integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $trap$ BEGIN "
            "IF id = 4 THEN RAISE EXCEPTION USING MESSAGE = {said}, DETAIL = {said}, HINT = {said}, "
            "CONSTRAINT = {said}, COLUMN = {said}, ERRCODE = '23514'; END IF; RETURN true; END $trap$;"
            "ALTER TABLE {child} ADD CONSTRAINT {trap} CHECK ({trap}(id));"
        ).format(**self._names(), said=sql.Literal(self.payload))

    def mended(self) -> sql.Composed:
        """The target without its traps."""
        return sql.SQL(
            "ALTER TABLE {table} DROP CONSTRAINT {check}; ALTER TABLE {child} DROP CONSTRAINT {trap};"
        ).format(**self._names())

    def rows(self) -> sql.Composed:
        """Six rows of each table, their keys and values hostile too."""
        return sql.SQL(
            "INSERT INTO {table} SELECT {said} || n, {said} || repeat({said}, n), n FROM generate_series(1, 6) n;"
            "INSERT INTO {child} SELECT n, {said} || 1, {said} FROM generate_series(1, 6) n;"
        ).format(**self._names(), said=sql.Literal(self.payload))

    def change(self) -> sql.Composed:
        """A change at the source, for a sync to find."""
        return sql.SQL("UPDATE {table} SET {value} = {value} || {said} WHERE {number} = 5").format(
            **self._names(), said=sql.Literal(self.payload)
        )

    def spoil(self) -> sql.Composed:
        """A change at the target, for a verify to find."""
        return sql.SQL("UPDATE {table} SET {value} = {said} WHERE {number} = 6").format(
            **self._names(), said=sql.Literal(f"{self.payload} spoiled")
        )

    def write_module(self, path: Path) -> None:
        """The tables as a module that `--metadata` can name, as METADATA."""
        names = {name: getattr(given, "_obj", ("",))[0] for name, given in self._names().items()}
        path.write_text(
            "from sqlalchemy import Column, ForeignKeyConstraint, Integer, MetaData, Table, Text\n"
            "METADATA = MetaData()\n"
            f"Table({self.table!r}, METADATA, Column({names['key']!r}, Text, primary_key=True), "
            f"Column({names['value']!r}, Text), Column({names['number']!r}, Integer))\n"
            f"Table({self.child!r}, METADATA, Column('id', Integer, primary_key=True), "
            f"Column({names['parent']!r}, Text), Column({names['value']!r}, Text), "
            f"ForeignKeyConstraint([{names['parent']!r}], "
            f"[METADATA.tables[{self.table!r}].c[{names['key']!r}]], name={names['fk']!r}))\n",
            encoding="utf-8",
        )

    def _names(self) -> dict[str, sql.Identifier]:
        names = ("key", "value", "number", "parent", "fk", "check", "index", "trap")
        made = {name: sql.Identifier(f"{name} {self.payload}") for name in names}
        return {**made, "table": sql.Identifier(self.table), "child": sql.Identifier(self.child)}

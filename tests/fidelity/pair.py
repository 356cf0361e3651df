"""A source and a target to be moved from one to the other, and the draft in which a pair grows hazard by hazard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_HELD_BACK = 2  # rows of each table that come later, with the changes


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Named:
    """A relation by its schema and its name."""

    schema: str
    name: str

    @property
    def sql(self) -> str:
        """Its name as SQL takes it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True)
class Moved(Named):
    """A table of the models; `columns` are those that both sides have to agree in, the generated ones too."""

    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One of the two databases: all that makes it, and settings of the database itself."""

    ddl: str
    settings: dict[str, str]


@dataclass(frozen=True)
class Pair:
    """What a seed makes.

    Attributes:
        hazards: what is out of the ordinary in it, in a few words each.
        models: the text of a module with a MetaData of the name METADATA.
        changes: statements for the source, that a second copy or a sync brings over.
        back: statements for the target, that a sync --reverse brings back.
        spoil: statements for the target after a move, so that it differs.
        mend: statements for the target, after which it takes what it refused.
        as_owner: the commands run as the owner of the target's tables, and not as a superuser.
        schemas: those that the source has tables in.
        row_cap: rows that its REST server gives at a time.
    """

    seed: int
    hazards: tuple[str, ...]
    source: Side
    target: Side
    models: str
    tables: tuple[Moved, ...]
    sequences: tuple[Named, ...]
    views: tuple[Named, ...]
    changes: tuple[str, ...]
    back: tuple[str, ...]
    spoil: tuple[str, ...]
    mend: tuple[str, ...]
    as_owner: bool
    schemas: tuple[str, ...]
    row_cap: int


@dataclass(frozen=True)
class Col:
    """A column on both sides, in the models, and its value in each row as SQL.

    Attributes:
        source, target: what follows the name in CREATE TABLE.
        model: the type in the models; more arguments may follow it after a comma.
        literals: none for a column that the server fills.
    """

    name: str
    source: str
    target: str
    model: str
    literals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Offers:
    """What the servers of a pair can do.

    Attributes:
        version: of PostgreSQL.
        xml: whether it was built with XML.
        collations: more of them whose order is not that of C.
        monetary: more values of lc_monetary.
    """

    version: int = 18
    xml: bool = False
    collations: tuple[str, ...] = ()
    monetary: tuple[str, ...] = ()


@dataclass
class Draft:
    """A pair that grows; each hazard adds its part."""

    seed: int
    offers: Offers = Offers()
    hazards: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    target: list[str] = field(default_factory=list)
    source_settings: dict[str, str] = field(default_factory=dict)
    target_settings: dict[str, str] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    tables: list[Moved] = field(default_factory=list)
    sequences: list[Named] = field(default_factory=list)
    views: list[Named] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    spoil: list[str] = field(default_factory=list)
    mend: list[str] = field(default_factory=list)
    as_owner: bool = False
    row_cap: int = 5

    def both(self, *statements: str) -> None:
        """Add statements to both sides."""
        for statement in statements:
            if statement and statement not in self.source:
                self.source.append(statement)
                self.target.append(statement)

    def model(self, name: str, columns: str, schema: str = "public") -> None:
        """Add a table to the models."""
        where = "" if schema == "public" else f", schema={schema!r}"
        self.models.append(f"Table({name!r}, METADATA, {columns}{where})")

    def table(
        self,
        name: str,
        columns: Sequence[Col],
        key: Sequence[str],
        *,
        schema: str = "public",
        source_key: str | None = None,
        target_key: str | None = None,
        still: bool = False,
    ) -> Moved:
        """Add a table with its rows; the last rows come with the changes, where one is updated and one deleted.

        Args:
            source_key, target_key: the key's constraint in CREATE TABLE where it is not an ordinary one; "" for none.
            still: no changes: it stays as it is.
        """
        moved = Moved(schema, name, tuple(column.name for column in columns))
        ordinary = f"PRIMARY KEY ({', '.join(map(quoted, key))})"
        for side, own, constraint in ((self.source, "source", source_key), (self.target, "target", target_key)):
            items = [f"{quoted(column.name)} {getattr(column, own)}" for column in columns]
            items += [ordinary if constraint is None else constraint] if constraint != "" else []
            side.append(f"CREATE TABLE {moved.sql} (\n    " + ",\n    ".join(items) + "\n);")
        arguments = []
        for column in columns:
            flags = ", primary_key=True, autoincrement=False" if column.name in key else ""
            arguments.append(f"Column({column.name!r}, {column.model}{flags})")
        self.model(name, ", ".join(arguments), schema)
        self.tables.append(moved)
        filled = [column for column in columns if column.literals]
        rows = list(zip(*(column.literals for column in filled), strict=True))
        names = [column.name for column in filled]
        first = rows if still else rows[:-_HELD_BACK]
        if first:
            self.source.append(insert(moved, names, first))
        if not still and len(rows) > _HELD_BACK + 3:
            self._change(moved, names, key, rows)
        return moved

    def _change(self, moved: Moved, names: list[str], key: Sequence[str], rows: list[tuple[str, ...]]) -> None:
        others = [name for name in names if name not in key]

        def where(row: tuple[str, ...]) -> str:
            return " AND ".join(f"{quoted(name)} = {row[names.index(name)]}" for name in key)

        def update(row: tuple[str, ...], like: tuple[str, ...]) -> str:
            sets = ", ".join(f"{quoted(name)} = {like[names.index(name)]}" for name in others)
            return f"UPDATE {moved.sql} SET {sets} WHERE {where(row)};" if others else ""

        changes = [insert(moved, names, rows[-_HELD_BACK:]), update(rows[0], rows[-1])]
        changes.append(f"DELETE FROM {moved.sql} WHERE {where(rows[1])};")
        self.changes += changes
        self.back += changes
        self.spoil += [update(rows[2], rows[3]), f"DELETE FROM {moved.sql} WHERE {where(rows[3])};"]

    def finished(self) -> Pair:
        """The pair as it is to be moved."""
        return Pair(
            seed=self.seed,
            hazards=tuple(self.hazards),
            source=Side("\n".join(self.source), dict(self.source_settings)),
            target=Side("\n".join(self.target), dict(self.target_settings)),
            models=_HEAD + "\n".join(self.models) + "\n",
            tables=tuple(self.tables),
            sequences=tuple(self.sequences),
            views=tuple(self.views),
            changes=tuple(filter(None, self.changes)),
            back=tuple(filter(None, self.back)),
            spoil=tuple(filter(None, self.spoil)),
            mend=tuple(filter(None, self.mend)),
            as_owner=self.as_owner,
            schemas=tuple(dict.fromkeys(["public", *(table.schema for table in self.tables)])),
            row_cap=self.row_cap,
        )


def insert(table: Named, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An INSERT of rows whose values are SQL."""
    listed = ",\n    ".join(f"({', '.join(row)})" for row in rows)
    columns = ", ".join(map(quoted, names))
    return f"INSERT INTO {table.sql} ({columns}) OVERRIDING SYSTEM VALUE VALUES\n    {listed};"


_HEAD = '''"""Models made for a test."""

from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from sqlalchemy.types import UserDefinedType


class Of(UserDefinedType):
    """A type that SQLAlchemy does not know, by the name that SQL has for it."""

    cache_ok = True

    def __init__(self, spec):
        self.spec = spec

    def get_col_spec(self, **_):
        return self.spec


METADATA = MetaData()
'''

"""One table whose key or value is of an extension's type, moved every way; each text is the source's afterwards."""

from sqlalchemy import Column, Integer, MetaData, Table, Text, types

from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import Ends
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from

# Over each type's texts: those that are told apart with difficulty, or written in more ways than one.
VALUES = {
    "citext": ["Ab", "ab c", 'q"u,o(t)e', "Ёж", ""],
    "hstore": ['"a"=>"1", "b"=>NULL', '"a"=>"1"', "", '"q\\"u"=>"x,y=>z"', '"ё"=>""'],
    "ltree": ["Top", "Top.Science", "Top.Science.Astronomy", "a.b_c.D1", ""],
    "geometry": [
        "SRID=4326;POINT(30.5 59.9)", "POINT(1 2)", "POINT EMPTY", "SRID=3857;LINESTRING(0 0,0.1 0.30000000000000004)",
        "POLYGON Z ((0 0 1,0 1 1,1 1 1,0 0 1))",
    ],
    "vector": ["[1,2,3]", "[0.1,0.30000001,-0]", "[1e-30,3e30]", "[0]", "[1,2,4]"],
}  # fmt: skip


class OfExtension(types.UserDefinedType[str]):
    """A column's type by its name in the database."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get_col_spec(self, **_: object) -> str:
        """The name."""
        return self._name


def models(kind: str) -> list[Table]:
    """A table with a key of the type, and one with values."""
    metadata = MetaData()
    Table("keyed", metadata, Column("k", OfExtension(kind), primary_key=True), Column("v", Text))
    valued = Table("valued", metadata, Column("id", Integer, primary_key=True), Column("v", OfExtension(kind)))
    valued.append_column(Column("many", OfExtension(f"{kind}[]")))
    return select_tables(metadata)


def extension(kind: str, *, at: str = "public") -> str:
    """Makes the type, in a schema."""
    return f"CREATE EXTENSION {'postgis' if kind == 'geometry' else kind} SCHEMA {at};"


def schema(kind: str, *, at: str = "public") -> str:
    """The tables."""
    own = f"{at}.{kind}"
    return (
        f"CREATE TABLE keyed (k {own} PRIMARY KEY, v text); "
        f"CREATE TABLE valued (id integer PRIMARY KEY, v {own}, many {own}[])"
    )


def rows(kind: str, *, at: str = "public") -> str:
    """Rows with all values."""
    quoted = [f"'{text}'::{at}.{kind}" for text in VALUES[kind]]
    keyed = "; ".join(f"INSERT INTO keyed VALUES ({one}, 'v')" for one in quoted)
    valued = "; ".join(
        f"INSERT INTO valued VALUES ({number}, {one}, ARRAY[{one}, NULL])" for number, one in enumerate(quoted)
    )
    return f"{keyed}; {valued}; INSERT INTO valued VALUES (99, NULL, NULL)"


def _texts(url: str) -> list[tuple[str, ...]]:
    return query(
        url,
        "SELECT k::text, v FROM keyed UNION ALL SELECT concat_ws('|', id, v), coalesce(many::text, '-') FROM valued "
        "ORDER BY 1, 2",
    )


async def moved_every_way(ends: Ends, kind: str, *, at: str = "public", keyed: bool = True) -> None:
    """Copy, copy again, verify, sync and sync back.

    Args:
        keyed: the table with a key of the type, too.
    """
    ends.make(schema(kind, at=at), rows(kind, at=at))
    chosen, count = models(kind)[0 if keyed else 1 :], len(VALUES[kind])
    if not keyed:
        execute(ends.source, "DELETE FROM keyed")
    first = await copy_from(ends.served, ends.target, chosen)
    assert (first.complete, sum(one.inserted for one in first.tables)) == (True, count + 1 + count * keyed)
    assert _texts(ends.target) == _texts(ends.source)
    again = await copy_from(ends.served, ends.target, chosen)
    assert sum(one.unchanged for one in again.tables) == count + 1 + count * keyed
    last = f"'{VALUES[kind][-1]}'::{at}.{kind}"
    execute(
        ends.source,
        f"UPDATE valued SET v = {last}; DELETE FROM keyed WHERE k::text = (SELECT min(k::text) FROM keyed); "
        "UPDATE keyed SET v = 'w' WHERE k::text = (SELECT max(k::text) FROM keyed)",
    )
    report = await verify_from(ends.served, ends.target, chosen)
    assert [(one.extra, one.different) for one in report.tables] == [(1, 1)] * keyed + [(0, count)]
    synced = await sync_from(ends.served, ends.target, chosen)
    assert (synced.complete, synced.tables["valued"].updated) == (True, count)
    assert _texts(ends.target) == _texts(ends.source)
    execute(ends.target, "UPDATE valued SET v = NULL WHERE id = 1; UPDATE keyed SET v = 'x'")
    back = await sync_from(ends.served, ends.target, chosen, reverse=True, target_in_use=True)
    assert back.complete
    assert _texts(ends.target) == _texts(ends.source)
    assert (await verify_from(ends.served, ends.target, chosen)).clean

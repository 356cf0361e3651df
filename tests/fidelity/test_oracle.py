"""The oracle finds each kind of disagreement when one is planted, and none where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fidelity.oracle import Disagreement, compare, is_empty, of_rows
from tests.fidelity.pair import Col, Draft, Moved, Named, Pair
from tests.fidelity.paths import named
from tests.fidelity.places import execute, place
from tests.support.in_process import Said
from tests.support.postgres import PostgresServer


@dataclass(frozen=True)
class Both:
    """Two databases that are the same."""

    source: str
    target: str
    pair: Pair

    def after(self, *statements: str, at: str = "target") -> list[tuple[str, str, int]]:
        """What the oracle finds once one side is another."""
        execute(self.source if at == "source" else self.target, statements)
        return [(one.what, one.name, one.rows) for one in compare(self.source, self.target, self.pair)]


def _pair() -> Pair:
    draft = Draft(0)
    numbers = tuple(str(n) for n in range(1, 7))
    values = {
        "f": ("double precision", "'0.30000000000000004'"),
        "i": ("interval", "'-1 year +3 days'"),
        "b": ("bytea", "'\\x5c00'"),
        "m": ("money", "5.25"),
        "d": ("timestamptz", "'2024-10-27 02:30:00+02'"),
        "t": ("text", "'a '"),
        "j": ("json", "'{\"a\":1.10}'"),
    }
    draft.both("CREATE SCHEMA other;")
    columns = [Col("id", "integer", "integer", "Integer", numbers)]
    columns += [Col(name, kind, kind, "Text", (value,) * 6) for name, (kind, value) in values.items()]
    draft.table("things", columns, ["id"], still=True)
    draft.table("things", columns, ["id"], schema="other", still=True)
    draft.both("CREATE TABLE public.parent (id integer);", "CREATE TABLE public.child () INHERITS (public.parent);")
    draft.tables += [Moved("public", "parent", ("id",)), Moved("public", "child", ("id",))]
    draft.both(
        "CREATE TABLE public.parted (id integer, n integer) PARTITION BY RANGE (id);",
        "CREATE TABLE public.part PARTITION OF public.parted FOR VALUES FROM (0) TO (9);",
        "INSERT INTO public.child VALUES (1); INSERT INTO public.parted VALUES (1, 2);",
        "CREATE TABLE public.filled (id integer, twice integer GENERATED ALWAYS AS (id * 2) STORED);",
        "INSERT INTO public.filled VALUES (1);",
    )
    draft.tables += [Moved("public", "parted", ("id", "n")), Moved("public", "filled", ("id", "twice"))]
    draft.both("CREATE SEQUENCE public.up;", "CREATE SEQUENCE public.down INCREMENT -2;")
    draft.both("SELECT setval('public.up', 5), setval('public.down', -5);")
    draft.sequences += [Named("public", "up"), Named("public", "down")]
    rows = [text for text in draft.source if text.startswith('INSERT INTO "')]
    draft.target += rows
    draft.both("CREATE MATERIALIZED VIEW public.seen AS SELECT count(*) FROM public.filled;")
    draft.views.append(Named("public", "seen"))
    draft.source_settings.update(
        {"DateStyle": "'German'", "IntervalStyle": "'iso_8601'", "extra_float_digits": "'-15'", "search_path": "''"}
    )
    draft.target_settings.update({"TimeZone": "'Asia/Kathmandu'", "bytea_output": "'escape'"})
    return draft.finished()


@pytest.fixture
def both(separate_server: PostgresServer, tmp_path: Path) -> Iterator[Both]:
    pair = _pair()
    with place(separate_server.admin_url, pair, tmp_path) as there:
        yield Both(there.source, there.target, pair)


def test_none_where_there_is_none(both: Both) -> None:
    assert both.after() == []
    assert not is_empty(both.target, both.pair.tables)


_CHANGES = (
    "f = 0.3", "i = '-12 mons +3 days 00:00:00.000001'", "b = '\\x5c'", "m = 5.26", "d = d + '1 microsecond'",
    "t = 'a'", "t = NULL", "j = '{\"a\":1.1}'", "j = '{\"a\": 1.10}'",
)  # fmt: skip
_BACK = "UPDATE other.things SET (f, i, b, m, d, t, j) = (SELECT f, i, b, m, d, t, j FROM other.things WHERE id = 1)"


def test_a_value(both: Both) -> None:
    for change in _CHANGES:
        found = both.after(f"UPDATE other.things SET {change} WHERE id = 3")
        assert found == [("missing", "things", 1), ("extra", "things", 1)], change
        assert both.after(_BACK) == []


def test_rows(both: Both) -> None:
    assert both.after("DELETE FROM things WHERE id < 3") == [("missing", "things", 2)]
    assert both.after("DELETE FROM things WHERE id < 3", at="source") == []
    assert both.after("INSERT INTO filled VALUES (1)", "INSERT INTO filled VALUES (1)") == [("extra", "filled", 2)]
    assert both.after("INSERT INTO parent VALUES (1)", "INSERT INTO parent VALUES (1)")[0] == (
        "extra",
        "parent",
        2,
    )


def test_a_childs_row_that_is_its_parents_too(both: Both) -> None:
    assert both.after("INSERT INTO parent SELECT * FROM child") == [("extra", "parent", 1)]


def test_partitions(both: Both) -> None:
    assert both.after("UPDATE part SET n = 3") == [("missing", "parted", 1), ("extra", "parted", 1)]


def test_a_generated_column(both: Both) -> None:
    found = both.after("ALTER TABLE filled ALTER twice DROP EXPRESSION", "UPDATE filled SET twice = NULL")
    assert found == [("missing", "filled", 1), ("extra", "filled", 1)]
    assert both.after("ALTER TABLE filled DROP twice") == [("gone", "filled", 1)]
    assert both.after("DROP TABLE filled CASCADE", at="source")[0] == ("gone", "filled", 1)


def test_sequences(both: Both) -> None:
    assert both.after("SELECT setval('up', 500), setval('down', -500)") == []
    assert both.after("SELECT setval('up', 4)") == [("sequence", "up", 1)]
    assert both.after("SELECT setval('up', 5, false)") == [("sequence", "up", 1)]
    assert both.after("SELECT setval('up', 6, false), setval('down', -3)") == [("sequence", "down", 1)]


def test_views(both: Both) -> None:
    assert both.after("REFRESH MATERIALIZED VIEW seen WITH NO DATA") == [("view", "seen", 1)]
    assert both.after("REFRESH MATERIALIZED VIEW seen") == []
    changed = both.after(
        "INSERT INTO filled VALUES (9)", "REFRESH MATERIALIZED VIEW seen", "DELETE FROM filled WHERE id > 1"
    )
    assert changed == [("view", "seen", 1)]


def test_what_a_copy_says_itself() -> None:
    said = Said(0, "things: 2 rows of the target are not in the source (any more)\nrefresh the view seen\n", "").out
    assert named(Disagreement("extra", "things", 2, ""), said)
    assert not named(Disagreement("extra", "things", 3, ""), said)
    assert not named(Disagreement("missing", "things", 2, ""), said)
    assert named(Disagreement("view", "seen", 1, ""), said)
    assert not named(Disagreement("sequence", "up_id", 1, ""), said)
    assert of_rows([Disagreement("view", "seen", 1, "")]) == []

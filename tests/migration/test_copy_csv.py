"""Pages as CSV: what PostgreSQL's COPY reads from them is what was in the page, and no other page becomes one."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.migration.copy_csv import OPTIONS, copy_csv

# PostgreSQL's text is any but NUL. The first ones mean something to COPY, to CSV or to JSON, or look like what stands
# between values.
_PARTS = [
    *("\\", "\\N", "\\.", "\n", "\n\\.\n", "\t", "\r\n", "\b\f", "null", '"', ","),
    *('\\"', '","_1":"', '"}, \n {"_0":"'),
]
_TEXTS = st.lists(
    st.sampled_from(_PARTS) | st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32)), max_size=3
).map("".join)
_ROWS = st.lists(st.tuples(_TEXTS, st.none() | _TEXTS, st.none() | _TEXTS), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS, between=st.sampled_from([", \n ", ",", ",\n"]))
def test_every_text_and_null_is_read_as_it_was(
    fresh_database: str, rows: list[tuple[str, str | None, str | None]], between: str
) -> None:
    records = [{f"_{n}": value for n, value in enumerate(row)} for row in rows]
    written = [json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records]
    text = copy_csv(f"[{between.join(written)}]\n".encode(), 3)
    assert text is not None
    with psycopg.connect(fresh_database) as connection:
        connection.execute("CREATE TEMP TABLE read (n int GENERATED ALWAYS AS IDENTITY, a text, b text, c text)")
        with connection.cursor().copy(f"COPY read (a, b, c) FROM STDIN {OPTIONS}") as writing:
            writing.write(text)
        assert connection.execute("SELECT a, b, c FROM read ORDER BY n").fetchall() == rows


@pytest.mark.parametrize(
    "body",
    [
        '[{"_0":"1","_1":"a"},{"_0":"2"}]',
        '[{"_0":"1","_1":"a"},{"_1":"b","_0":"2"}]',
        '[{"_0":"1","_1":"a","_2":"b"}]',
        '[{"_1":"a","_0":"1"}]',
        '[{"_0":"1","_1":2}]',
        '[{"_0":"1","_1":true}]',
        '[{"_0":"1","_1":["a"]}]',
        '[{"_0":"1","_1":{"a":"b"}}]',
        '[{"_0":"1", "_1":"a"}]',  # valid, and written by something other than PostgREST
        r'[{"_0":"1","_1":"\u0041"}]',
        r'[{"_0":"1","_1":"\ud800"}]',
        '["_0", "_1"]',
        '{"message": "an error"}',
        '[{"_0":"1",',
        "[]",
        "",
    ],
)
def test_other_pages_are_left_to_the_way_that_decodes_them(body: str) -> None:
    assert copy_csv(body.encode(), 2) is None

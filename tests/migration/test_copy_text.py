"""Pages in COPY's text format: what PostgreSQL reads from them is what was in the page, and no other page is one."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.migration.copy_text import copy_text

# PostgreSQL's text is any but NUL; the first ones mean something to COPY.
_TEXTS = st.sampled_from(["", "\\", "\\N", "N", "\\.", "\t", "\n", "\r\n", "null", "ё\\\tё", '"']) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)
_ROWS = st.lists(st.tuples(_TEXTS, st.none() | _TEXTS, st.none() | _TEXTS), max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS, ascii_only=st.booleans())
def test_every_text_and_null_is_read_as_it_was(
    fresh_database: str, rows: list[tuple[str, str | None, str | None]], ascii_only: bool
) -> None:
    body = json.dumps([{f"_{n}": value for n, value in enumerate(row)} for row in rows], ensure_ascii=ascii_only)
    text = copy_text(body.encode(), 3)
    assert text is not None
    with psycopg.connect(fresh_database) as connection:
        connection.execute("CREATE TEMP TABLE read (n int GENERATED ALWAYS AS IDENTITY, a text, b text, c text)")
        with connection.cursor().copy("COPY read (a, b, c) FROM STDIN") as writing:
            writing.write(text)
        assert connection.execute("SELECT a, b, c FROM read ORDER BY n").fetchall() == rows


@pytest.mark.parametrize(
    "body",
    [
        b'[{"_0":"1","_1":"a"}, {"_0":"2"}]',  # a column is missing
        b'[{"_0":"1","_1":2}]',
        b'[{"_0":"1","_1":["a"]}]',
        b'[{"_0":"1","_1":"\\ud800"}]',  # half a surrogate pair
        b'["_0", "_1"]',
        b'{"message": "an error"}',
        b'[{"_0":"1",',
        b"\xff",
    ],
)
def test_other_pages_are_left_to_the_way_that_says_what_is_wrong(body: bytes) -> None:
    assert copy_text(body, 2) is None

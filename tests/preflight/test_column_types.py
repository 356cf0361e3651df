"""What becomes of values between two types, held against what PostgreSQL does with them."""

import psycopg
import pytest

from app.migration.preflight.schemas.type_passages import catalog_name, passage

# Source type, target type, texts of the source; for "changed" at least one of them comes out as another text.
_PAIRS = [
    ("numeric(12,4)", "numeric(12,2)", "changed", ["1.2345"]),
    ("numeric(12,2)", "numeric(12,4)", "changed", ["1.25"]),
    ("numeric(12,2)", "numeric(4,2)", "refused", ["1.25", "123.45"]),
    ("numeric", "numeric(12,2)", "changed", ["1.255"]),
    ("numeric(12,2)", "numeric", "refused", ["1.50"]),
    ("numeric(12,2)", "integer", "refused", ["1.00", "1.50"]),
    ("integer", "numeric(12,2)", "changed", ["7"]),
    ("bigint", "integer", "refused", ["7", "3000000000"]),
    ("integer", "double precision", "refused", ["2147483647", "-2147483648"]),
    ("bigint", "double precision", "changed", ["12345678901234567"]),
    ("double precision", "real", "changed", ["0.123456789"]),
    ("real", "double precision", "changed", ["1e+06"]),
    ("text", "character varying(3)", "refused", ["abc", "abcd"]),
    ("character varying(50)[]", "text[]", "refused", ['{"a b",NULL}']),
    ("text", "integer", "changed", ["007"]),
    ("text", "uuid", "changed", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]),
    ("text", "character(3)", "changed", ["a "]),
    ("date", "timestamp without time zone", "changed", ["2026-01-01"]),
    ("timestamp without time zone", "date", "changed", ["2026-01-01 10:00:00"]),
    ("timestamp with time zone", "timestamp without time zone", "changed", ["2026-01-01 10:00:00+00"]),
    ("timestamp without time zone", "timestamp(3) without time zone", "changed", ["2026-01-01 10:00:00.123456"]),
    ("timestamp(3) without time zone", "timestamp without time zone", "refused", ["2026-01-01 10:00:00.12"]),
    ("json", "jsonb", "changed", ['{"b": 1,  "a": 1}']),
    ("jsonb", "json", "refused", ['{"a": 1.10}']),
    ("boolean", "integer", "changed", ["true"]),
    ("integer", "boolean", "changed", ["1"]),
    ("jsonb", "text", "refused", ['{"a": 1.10}']),
    ("integer[]", "text", "refused", ["{1,NULL}"]),
    ("integer", "integer[]", "changed", ["1"]),
]


@pytest.mark.parametrize(("source", "target", "expected", "texts"), _PAIRS)
def test_as_postgresql_does(fresh_database: str, source: str, target: str, expected: str, texts: list[str]) -> None:
    assert passage(source, target) == expected
    came = []
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute(f"CREATE TEMP TABLE taken (value {target})")
        for text in texts:
            connection.execute(f"SELECT %s::{source}", [text])  # a value of the source's type
            try:
                connection.execute(
                    f"INSERT INTO taken SELECT %s::text::{target.partition('(')[0]}{_tail(target)}", [text]
                )
            except psycopg.DataError:
                continue
            came = [value for (value,) in connection.execute("SELECT value::text FROM taken")]
            if expected == "refused":
                assert came[-1] == text
    if expected == "changed" and came:
        assert came != texts


def _tail(target: str) -> str:
    """The rest of a type behind its length: a cast with the length would cut what an assignment refuses."""
    return target.partition(")")[2]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("VARCHAR(50)[]", "character varying(50)[]"), ("NUMERIC(12, 2)", "numeric(12,2)"), ("BIGINT", "bigint"),
        ("TIMESTAMP WITHOUT TIME ZONE", "timestamp without time zone"), ("int4", "integer"), ("int64", "bigint"),
        ("TIMESTAMP(3) WITH TIME ZONE", "timestamp(3) with time zone"),
        ("FLOAT(53)", "double precision"), ("CHAR(5)", "character(5)"),
        ("numeric", "numeric"), ("mood", "mood"), ('"Mood"', '"Mood"'),
        ("TEXT[]", "text[]"), ("DOUBLE PRECISION", "double precision"),
    ],
)  # fmt: skip
def test_names_as_the_catalog_has_them(text: str, name: str) -> None:
    assert catalog_name(text) == name

"""Columns whose type at the target is narrower, or another one, than at the source.

Where a value does not fit, the target refuses it, rounds it, or cuts it without a word.
"""

from __future__ import annotations

import re

from tests.fidelity.column_kinds import ADDRESS, ENUM, Kind, texts
from tests.fidelity.key_kinds import FOLDED_TYPE


def _pair(
    name: str, source: str, target: str, *values: str, model: str = "", ddl: tuple[str, ...] = (),
    target_ddl: tuple[str, ...] = (),
) -> Kind:  # fmt: skip
    def own(text: str) -> str:
        """The same with the names of its own types in place of those that the other columns use."""
        return re.sub(r"\b(mood|short_text|price|address)\b", r"narrow_\1", text)

    def all_own(statements: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(own, statements))

    return Kind(name, own(source), texts(*values), own(target), model, all_own(ddl), all_own(target_ddl))


FITTING: tuple[Kind, ...] = (
    _pair("numeric that fits numeric(12,2)", "numeric", "numeric(12,2)", "1.10", "-0.05", model="Numeric(12, 2)"),
    _pair("varchar(50) that fits varchar(3)", "varchar(50)", "varchar(3)", "abc", "", "a ", model="String(3)"),
    _pair("text that fits varchar(9)", "text", "varchar(9)", "abc", "", "a ", model="String(9)"),
    _pair("whole seconds for timestamp(0)", "timestamp", "timestamp(0)", "2024-02-03 04:05:06", "infinity"),
    _pair("bigint that fits integer", "bigint", "integer", "1", "-2", model="Integer"),
    _pair("integer for bigint", "integer", "bigint", "1", "2147483647", model="BigInteger"),
    _pair("varchar for text", "varchar(20)", "text", "a ", "", model="Text"),
    _pair("text for an enum", "text", "mood", "calm", "a,b", target_ddl=(ENUM,)),
    _pair("double that fits real", "double precision", "real", "0.5", "NaN", model="REAL"),
    _pair("integer for numeric", "integer", "numeric", "1", "-7", model="Numeric"),
)
NARROWING: tuple[Kind, ...] = (
    _pair("date for a timestamp", "date", "timestamp", "2024-02-03", "infinity", model="DateTime"),
    _pair(
        "numeric for numeric(12,2), rounded", "numeric", "numeric(12,2)", "1.005", "5", "1.10", model="Numeric(12, 2)"
    ),
    _pair("varchar(50) for varchar(3), too long", "varchar(50)", "varchar(3)", "abcd", "abc", model="String(3)"),
    _pair("varchar(50) for varchar(3), blanks cut", "varchar(50)", "varchar(3)", "abc   ", "ab", model="String(3)"),
    _pair("text for varchar(4), blanks cut", "text", "varchar(4)", "abcd  ", "", "    ", "      ", model="String(4)"),
    _pair("text for char(4), padded", "text", "char(4)", "a", "abcd", model="CHAR(4)"),
    _pair("char(4) for text, blanks lost", "char(4)", "text", "a", "abcd", model="Text"),
    _pair("text for name, cut", "text", "name", "x" * 70, "short"),
    _pair("text for one char, cut", "text", '"char"', "xyz", "q"),
    _pair("timestamp for timestamp(0)", "timestamp", "timestamp(0)", "2024-02-03 04:05:06.7", "2024-02-03 04:05:06"),
    _pair(
        "timestamptz for timestamptz(3)",
        "timestamptz",
        "timestamptz(3)",
        "2024-02-03 04:05:06.789123+00",
        "2024-02-03 04:05:06+00",
    ),
    _pair("timestamptz for timestamp", "timestamptz", "timestamp", "2024-02-03 04:05:06+03", model="DateTime"),
    _pair(
        "timestamp for timestamptz", "timestamp", "timestamptz", "2024-02-03 04:05:06", model="DateTime(timezone=True)"
    ),
    _pair("timestamp for date", "timestamp", "date", "2024-02-03 04:05:06", "2024-02-03 00:00:00", model="Date"),
    _pair("time for time(0)", "time", "time(0)", "23:59:59.9", "01:02:03"),
    _pair("interval for interval(0)", "interval", "interval(0)", "1 mon 00:00:01.5", "1 day"),
    _pair("interval for interval year", "interval", "interval year", "1 year 3 mons 2 days", "2 years"),
    _pair("double for real", "double precision", "real", "0.1", "0.30000000000000004", "16777217", model="REAL"),
    _pair("bigint for integer, too big", "bigint", "integer", "9007199254740993", "1", model="Integer"),
    _pair("numeric for integer, rounded", "numeric", "integer", "1.5", "2", model="Integer"),
    _pair("json for jsonb", "json", "jsonb", '{"b":1,"a":1,"a":2}', "[1 ]", model="JSONB"),
    _pair("jsonb for json", "jsonb", "json", '{"b": 1, "a": [1.10]}', model="JSON"),
    _pair("varbit for varbit(3)", "bit varying", "bit varying(3)", "10101", "1"),
    _pair(
        "enum for one with fewer labels",
        "mood",
        "mood",
        "calm",
        "a,b",
        ddl=("CREATE TYPE mood AS ENUM ('calm', 'très pressé', 'a,b');",),
        target_ddl=("CREATE TYPE mood AS ENUM ('a,b', 'très pressé');",),
    ),
    _pair("text for an enum, unknown label", "text", "mood", "calm", "cross", target_ddl=(ENUM,)),
    _pair(
        "text for a domain with blanks cut",
        "text",
        "short_text",
        "abcde  ",
        "abc",
        target_ddl=("CREATE DOMAIN short_text AS varchar(5);",),
    ),
    _pair(
        "numeric for a domain, rounded",
        "numeric",
        "price",
        "1.005",
        "7",
        target_ddl=("CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0);",),
    ),
    _pair(
        "a domain that is narrower at the target",
        "price",
        "price",
        "1.005",
        "7",
        ddl=("CREATE DOMAIN price AS numeric;",),
        target_ddl=("CREATE DOMAIN price AS numeric(8,2);",),
    ),
    _pair("numeric array for numeric(12,2) array", "numeric[]", "numeric(12,2)[]", "{1.005,7}", "{}"),
    _pair("varchar array, blanks cut", "varchar(50)[]", "varchar(3)[]", '{"abc   ",ab}', "{}"),
    _pair(
        "a composite that is narrower at the target",
        "address",
        "address",
        '("abc   ",12345.678,)',
        "(a,1.10,)",
        ddl=("CREATE TYPE address AS (street varchar(50), worth numeric, since timestamptz);",),
        target_ddl=("CREATE TYPE address AS (street varchar(3), worth numeric(9,1), since timestamptz(0));",),
    ),
    _pair(
        "a composite whose attributes have another order",
        "address",
        "address",
        "(a,b)",
        "(,c)",
        ddl=("CREATE TYPE address AS (street text, town text);",),
        target_ddl=("CREATE TYPE address AS (town text, street text);",),
    ),
    _pair("text for a composite", "text", "address", '(a,b,"2024-10-27 02:30:00+02")', target_ddl=(ADDRESS,)),
    _pair("text for a type that folds case", "text", FOLDED_TYPE, "Ab", "ab"),
    _pair("inet for cidr", "inet", "cidr", "10.0.0.0/8", "10.0.0.1", model="CIDR"),
    _pair("integer for boolean", "integer", "boolean", "1", "0", model="Boolean"),
    _pair("integer for smallint, too big", "integer", "smallint", "70000", "7", model="SmallInteger"),
)

"""Kinds of primary keys: types, collations and orders by which rows are paged and told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Literal = Callable[[int], str]  # the key of a row, by its number from 0

FOLDED_TYPE = "ext.folded"
# A type like citext in a schema that is in nobody's search path: text whose operators fold case.
FOLDED = """CREATE SCHEMA IF NOT EXISTS ext;
CREATE TYPE ext.folded;
CREATE FUNCTION ext.folded_in(cstring) RETURNS ext.folded LANGUAGE internal STRICT IMMUTABLE AS 'textin';
CREATE FUNCTION ext.folded_out(ext.folded) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'textout';
CREATE FUNCTION ext.folded_recv(internal) RETURNS ext.folded LANGUAGE internal STRICT STABLE AS 'textrecv';
CREATE FUNCTION ext.folded_send(ext.folded) RETURNS bytea LANGUAGE internal STRICT STABLE AS 'textsend';
CREATE TYPE ext.folded (INPUT = ext.folded_in, OUTPUT = ext.folded_out, RECEIVE = ext.folded_recv,
    SEND = ext.folded_send, LIKE = text, CATEGORY = 'S', COLLATABLE = true);
CREATE CAST (ext.folded AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS ext.folded) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION ext.folded_cmp(a ext.folded, b ext.folded) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT pg_catalog.bttextcmp(pg_catalog.lower(a::pg_catalog.text), pg_catalog.lower(b::pg_catalog.text)) $$;
CREATE FUNCTION ext.folded_hash(a ext.folded) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT pg_catalog.hashtext(pg_catalog.lower(a::pg_catalog.text)) $$;
""" + "\n".join(
    f"CREATE FUNCTION ext.folded_{name}(a ext.folded, b ext.folded) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS "
    f"$$ SELECT ext.folded_cmp(a, b) {operator} 0 $$;\n"
    f"CREATE OPERATOR ext.{operator} (LEFTARG = ext.folded, RIGHTARG = ext.folded, FUNCTION = ext.folded_{name}"
    + (", HASHES, MERGES, COMMUTATOR = OPERATOR(ext.=));" if operator == "=" else ");")
    for name, operator in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"), ("ne", "<>"))
) + """
CREATE OPERATOR CLASS ext.folded_ops DEFAULT FOR TYPE ext.folded USING btree AS OPERATOR 1 ext.<, OPERATOR 2 ext.<=,
    OPERATOR 3 ext.=, OPERATOR 4 ext.>=, OPERATOR 5 ext.>, FUNCTION 1 ext.folded_cmp(ext.folded, ext.folded);
CREATE OPERATOR CLASS ext.folded_hash_ops DEFAULT FOR TYPE ext.folded USING hash AS OPERATOR 1 ext.=,
    FUNCTION 1 ext.folded_hash(ext.folded);"""  # fmt: skip


@dataclass(frozen=True)
class KeyKind:
    """A key of one or more columns.

    Attributes:
        columns: name, type with its collation, type in the models.
        literals: for each column the value of a row by its number.
        wrong: statements for the source after its rows, which make the key's index one of another order.
    """

    name: str
    columns: tuple[tuple[str, str, str], ...]
    literals: tuple[Literal, ...]
    ddl: tuple[str, ...] = ()
    wrong: str = ""


_ODD = (
    "a,b", '"q"', "(x)", "a.b:c", " ", "", "null", "100%", "a&b=c+d;e#f", "back\\slash", "*", "😀", "line\nend", "Ё",
    "ё", "Ab", "aB", "\u00e9", "e\u0301", "_", "-", "NULL", "%s{}", "'",
)  # fmt: skip


def _listed(*values: str) -> Literal:
    return lambda n: "'" + values[n % len(values)].replace("'", "''") + "'"


def _text(n: int) -> str:
    """Texts whose order is another one in each collation."""
    word = f"{chr(97 + n * 7 % 26)}-{n:03d}"
    return f"'{word.upper() if n % 2 else word}'"


def _one(name: str, kind: str, model: str, literal: Literal, **more: object) -> KeyKind:
    return KeyKind(name, (("id", kind, model),), (literal,), **more)  # type: ignore[arg-type]


# The catalog says another order of an index than it has, as after an upgrade of the C library.
_MISLABELLED = """SET allow_system_table_mods = on;
UPDATE pg_index SET indoption = '1'::int2vector WHERE indrelid = '{table}'::regclass AND indisprimary;
RESET allow_system_table_mods;"""
_OTHER_ORDER = """CREATE OR REPLACE FUNCTION ext.folded_cmp(a ext.folded, b ext.folded) RETURNS integer LANGUAGE sql
IMMUTABLE STRICT AS $$ SELECT pg_catalog.bttextcmp(pg_catalog.reverse(pg_catalog.lower(a::pg_catalog.text)),
pg_catalog.reverse(pg_catalog.lower(b::pg_catalog.text))) $$;"""

KEYS: tuple[KeyKind, ...] = (
    _one("bigint key", "bigint", "BigInteger", lambda n: str(n * 3 - 10)),
    _one("uuid key", "uuid", "Uuid", lambda n: f"md5('{n}')::uuid"),
    _one("text key", "text", "Text", _text),
    _one("text key, COLLATE C", 'text COLLATE "C"', "Text(collation='C')", _text),
    _one("text key, COLLATE POSIX", 'text COLLATE "POSIX"', "Text(collation='POSIX')", _text),
    _one("text key, COLLATE ucs_basic", "text COLLATE ucs_basic", "Text(collation='ucs_basic')", _text),
    _one("key of odd texts", "text", "Text", _listed(*dict.fromkeys(_ODD))),
    _one("varchar key", "varchar(20)", "String(20)", lambda n: f"'k {n % 5}.{n} '"),
    _one("char(4) key", "char(4)", "CHAR(4)", lambda n: f"'{n:x}'"),
    _one("numeric key", "numeric", "Numeric", lambda n: f"{n}.{'0' * (n % 3)}{n % 7}"),
    _one(
        "double key",
        "double precision",
        "Double",
        _listed("NaN", "-0", "0.1", "0.30000000000000004", "1e-310", "-Infinity", *(f"{n}.{n}" for n in range(1, 20))),
    ),
    _one("date key", "date", "Date", _listed("infinity", "0044-03-15 BC", *(f"2024-01-{n:02d}" for n in range(1, 24)))),
    _one(
        "timestamptz key",
        "timestamptz",
        "DateTime(timezone=True)",
        _listed(
            "-infinity", "0044-03-15 12:00:00+00 BC", *(f"2024-10-27 0{n % 4}:{n:02d}:00.000001+02" for n in range(23))
        ),
    ),
    _one("timestamp key", "timestamp", "DateTime", lambda n: f"'2024-02-03 04:05:{n:02d}.{n}'"),
    _one("interval key", "interval", "INTERVAL", lambda n: f"'{n % 3} mons {n} days 00:00:0{n % 7}.5'"),
    _one("bytea key", "bytea", "LargeBinary", lambda n: f"'\\x00ff{n:02x}5c'"),
    _one("integer key", "integer", "Integer", lambda n: str(n)),
    _one("integer array key", "integer[]", "ARRAY(Integer)", lambda n: f"'{{{n % 4},{n}}}'"),
    _one("text array key", "text[]", "ARRAY(Text)", lambda n: f'\'{{"a,{n}",NULL,""}}\''),
    _one("range key", "int4range", "INT4RANGE", lambda n: f"'[{n % 5},{n + 9})'"),
    _one("money key", "money", "Of('money')", lambda n: f"'{n}.25'"),
    _one("bit key", "bit(5)", "BIT(5)", lambda n: f"{n}::bit(5)"),
    _one("inet key", "inet", "INET", lambda n: f"'10.0.{n}.1/{n + 8}'"),
    _one("jsonb key", "jsonb", "JSONB", lambda n: f"'{{\"n\": {n}.10}}'"),
    _one(
        "enum key in another order than its labels'",
        "rank",
        "Of('rank')",
        lambda n: f"'r{n}'",
        ddl=(f"CREATE TYPE rank AS ENUM ({', '.join(repr(f'r{n * 7 % 24}') for n in range(24))});",),
    ),
    _one(
        "domain key",
        "code",
        "Of('code')",
        lambda n: f"'c{n * 7 % 24}'",
        ddl=("CREATE DOMAIN code AS varchar(5) NOT NULL;",),
    ),
    _one(
        "composite key type",
        "pairing",
        "Of('pairing')",
        lambda n: f"'({n % 4},\"k, {n}\")'::pairing",
        ddl=("CREATE TYPE pairing AS (a integer, b text);",),
    ),
    _one(
        "key of a type whose operators are outside the search path",
        "ext.folded",
        "Of('ext.folded')",
        _text,
        ddl=(FOLDED,),
    ),
    _one(
        "key of a type whose comparison was changed under its index",
        "ext.folded",
        "Of('ext.folded')",
        _text,
        ddl=(FOLDED,),
        wrong=_OTHER_ORDER,
    ),
    _one(
        "index in another order than the catalog says",
        'text COLLATE "C"',
        "Text(collation='C')",
        _text,
        wrong=_MISLABELLED,
    ),
    KeyKind(
        "key of text and integer", (("a", "text", "Text"), ("b", "integer", "Integer")), (lambda n: f"'k{n % 3}'", str)
    ),
    KeyKind(
        "key of three columns",
        (("day", "date", "Date"), ("a", 'text COLLATE "C"', "Text(collation='C')"), ("b", "boolean", "Boolean")),
        (
            _listed("infinity", "2024-01-02"),
            lambda n: f"'{'X' if n % 2 else 'x'}{n // 4}'",
            _listed("t", "t", "f", "f"),
        ),
    ),
    KeyKind(
        "key of odd names",
        (("a b", "integer", "Integer"), ('q"t', "text", "Text"), ("order", "integer", "Integer")),
        (lambda n: str(n % 2), lambda n: f"'{n % 5}'", str),
    ),
)

"""Kinds of columns that a move has to bring to the letter: the type, and values in which tools err."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A type at both sides and values for it, as SQL.

    Attributes:
        target: the type at the target where it is another one.
        model: an expression in the models; Of(the target's type) where none is given.
        ddl: statements for both sides that have to come before.
        target_ddl: the same for the target alone, in place of `ddl`.
    """

    name: str
    source: str
    values: tuple[str, ...]
    target: str = ""
    model: str = ""
    ddl: tuple[str, ...] = ()
    target_ddl: tuple[str, ...] = ()


def texts(*texts: str) -> tuple[str, ...]:
    return tuple("'" + text.replace("'", "''") + "'" for text in texts)


def _kind(name: str, source: str, *values: str, model: str = "", ddl: tuple[str, ...] = ()) -> Kind:
    return Kind(name, source, texts(*values), model=model, ddl=ddl)


ENUM = "CREATE TYPE mood AS ENUM ('calm', 'très pressé', 'a,b', 'NULL', '');"
SHORT = "CREATE DOMAIN short_text AS varchar(5);"
PRICE = "CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0 OR VALUE IS NULL);"
ADDRESS = "CREATE TYPE address AS (street text, zip varchar(6), since timestamptz);"
SPAN = "CREATE TYPE floatspan AS RANGE (subtype = float8);"
HOLDER = "CREATE TYPE holder AS (place address, moods mood[], worth money, at timestamp);"

KINDS: tuple[Kind, ...] = (
    _kind(
        "text", "text", "", " ", "NULL", "null", "\\N", "\\.", "a\tb\nc\rd", "'q' \"q\"", "Ёж 😀", "é e\u0301", "\ufeff"
    ),
    _kind("varchar(50)", "varchar(50)", "a", "ab ", "  ", "%s {} $1 :x", model="String(50)"),
    _kind("char(5)", "char(5)", "a", "ab", "", "abcde", model="CHAR(5)"),
    _kind("one char", '"char"', "x", "", "\\", "y"),
    _kind("name", "name", "pg_name", "", "Ünïcode"),
    _kind("boolean", "boolean", "t", "f", model="Boolean"),
    _kind("smallint", "smallint", "-32768", "32767", "0", model="SmallInteger"),
    _kind("bigint", "bigint", "9223372036854775807", "-9223372036854775808", "9007199254740993", model="BigInteger"),
    _kind(
        "numeric",
        "numeric",
        "1.10",
        "0.000",
        "NaN",
        "Infinity",
        "12345678901234567890.5",
        "-0",
        "1e-20",
        model="Numeric",
    ),
    _kind("numeric(12,2)", "numeric(12,2)", "1.10", "-0.05", "9999999999.99", "NaN", model="Numeric(12, 2)"),
    _kind("numeric of negative scale", "numeric(5,-2)", "12300", "100"),
    _kind("real", "real", "0.1", "1e-40", "NaN", "-0", "Infinity", "16777217", model="REAL"),
    _kind(
        "double",
        "double precision",
        "0.1",
        "0.30000000000000004",
        "1e-310",
        "NaN",
        "-0",
        "-Infinity",
        "1e22",
        model="Double",
    ),
    _kind("money", "money", "5.25", "-1234.5", "0", "92233720368547758.07"),
    _kind("bytea", "bytea", "\\x00ff5c27", "", "\\x5c5c", "abc", model="LargeBinary"),
    _kind("date", "date", "0044-03-15 BC", "infinity", "-infinity", "2024-02-03", "5874897-12-31", model="Date"),
    _kind("time", "time", "24:00:00", "00:00:00.000001", "01:02:03", model="Time"),
    _kind("timetz", "timetz", "24:00:00-15:59", "00:00:00.000001+05:45", "01:02:03Z", model="Time(timezone=True)"),
    _kind(
        "timestamp", "timestamp", "2024-02-03 04:05:06.000001", "0001-01-01 00:00:00 BC", "infinity", model="DateTime"
    ),
    _kind(
        "timestamptz",
        "timestamptz",
        "2024-10-27 02:30:00+02",
        "0044-03-15 12:00:00+00 BC",
        "-infinity",
        "2024-02-03 04:05:06.7+05:45",
        "294276-12-31 00:00:00+00",
        model="DateTime(timezone=True)",
    ),
    _kind(
        "interval",
        "interval",
        "1 mon -2 days 00:00:01.5",
        "-1 year +3 days -04:05:06.000007",
        "30 days",
        "1 month",
        "24:00:00",
        "1 day",
        "-178000000 years",
        model="INTERVAL",
    ),
    _kind("uuid", "uuid", "00000000-0000-4000-8000-00000000000A", "ffffffff-ffff-ffff-ffff-ffffffffffff", model="Uuid"),
    _kind(
        "json",
        "json",
        '{"a":"\\u0000","b":"\\ud83d","n":12345678901234567890.1000,"n":2}',
        "null",
        " [1 , 2.0] ",
        '"\\u00e9"',
        '{"b":1,"a":{}}\n',
        "-0",
        model="JSON",
    ),
    _kind(
        "jsonb",
        "jsonb",
        '{"n": 12345678901234567890.1000, "b": [], "a": null}',
        "null",
        '"\\""',
        "1.10",
        "[1e3, -0]",
        '{"": {"ё": "\\\\"}}',
        model="JSONB",
    ),
    _kind(
        "text array",
        "text[]",
        "{}",
        '{NULL,"NULL",""," ","{}","a,b","\\"","\\\\"}',
        "[0:1]={a,b}",
        "{{a,b},{c,NULL}}",
        model="ARRAY(Text)",
    ),
    _kind(
        "timestamptz array",
        "timestamptz[]",
        '{"2024-10-27 02:30:00+02",NULL,infinity}',
        "{}",
        model="ARRAY(DateTime(timezone=True))",
    ),
    _kind("interval array", "interval[]", '{"-1 year +3 days -04:05:06.7","1 mon"}', "{}"),
    _kind("date array", "date[]", '{"2024-02-03","0044-03-15 BC",NULL}', "{}", model="ARRAY(Date)"),
    _kind("double array", "double precision[]", "{0.1,NaN,-0,1e-310}", "[5:5]={0.30000000000000004}"),
    _kind("bytea array", "bytea[]", '{"\\\\x00ff","\\\\x",NULL}', "{}"),
    _kind("money array", "money[]", "{5.25,-1234.5,NULL}", "{}"),
    _kind("bit(5)", "bit(5)", "10101", "00000", model="BIT(5)"),
    _kind("varbit", "bit varying", "", "1", "0001", model="BIT(varying=True)"),
    _kind("enum", "mood", "calm", "très pressé", "a,b", "NULL", "", ddl=(ENUM,)),
    _kind("enum array", "mood[]", "{}", '{calm,"très pressé","a,b","NULL",NULL,""}', ddl=(ENUM,)),
    _kind("domain of varchar(n)", "short_text", "abcde", "", "a  ", ddl=(SHORT,)),
    _kind("domain of numeric(p,s)", "price", "1.10", "0", "999999.99", ddl=(PRICE,)),
    _kind("array of a domain", "price[]", "{1.10,0.00,NULL}", "{}", ddl=(PRICE,)),
    _kind(
        "composite",
        "address",
        '("Main, ""St"" 1",,)',
        '(,"",infinity)',
        '("a\\\\b",12,"2024-10-27 02:30:00+02")',
        "(,,)",
        ddl=(ADDRESS,),
    ),
    _kind("array of a composite", "address[]", '{"(a,b,\\"2024-10-27 02:30:00+02\\")",NULL}', "{}", ddl=(ADDRESS,)),
    _kind(
        "composite of composites",
        "holder",
        '("(a,b,)","{calm,""a,b""}",5.25,"2024-02-03 04:05:06")',
        "(,{},-3,)",
        ddl=(ADDRESS, ENUM, HOLDER),
    ),
    _kind("int4range", "int4range", "[1,5)", "empty", "(,)", "[1,1]", model="INT4RANGE"),
    _kind(
        "tstzrange",
        "tstzrange",
        '["2024-10-27 02:30:00+02",)',
        "empty",
        '(-infinity,"2024-01-01 00:00:00+00"]',
        model="TSTZRANGE",
    ),
    _kind("daterange", "daterange", "[2024-02-03,2024-03-01]", "(,infinity]", "empty", model="DATERANGE"),
    _kind("numrange", "numrange", "[1.10,2.0]", "(,NaN)", "empty", model="NUMRANGE"),
    _kind("tstzmultirange", "tstzmultirange", '{["2024-10-27 02:30:00+02","2024-10-28 00:00:00Z")}', "{}"),
    _kind("own range", "floatspan", "[0.1,2.5)", "[0.30000000000000004,Infinity]", "empty", ddl=(SPAN,)),
    _kind("inet", "inet", "10.0.0.1/8", "::1", "192.168.0.1", model="INET"),
    _kind("cidr", "cidr", "10.0.0.0/8", "2001:db8::/32", model="CIDR"),
    _kind("macaddr", "macaddr", "08:00:2b:01:02:03", model="MACADDR"),
    _kind("tsvector", "tsvector", "a:1A b:2,3 'c d'", "", "'it''s'", model="TSVECTOR"),
    _kind("tsquery", "tsquery", "a & !b | 'c d':*", "a <-> b", model="TSQUERY"),
    _kind("point", "point", "(0.1,0.30000000000000004)", "(NaN,-0)"),
    _kind("polygon", "polygon", "((0,0),(1,0.1),(1,1))"),
    _kind("jsonpath", "jsonpath", '$."a"[*] ? (@ > 1.10)'),
    _kind("regclass", "regclass", "pg_catalog.pg_class", "pg_catalog.pg_type"),
    _kind("log position", "pg_lsn", "16/B374D848", "0/0"),
)
XML = _kind("xml", "xml", '<?xml version="1.0" encoding="UTF-8"?><a b="1">ü &amp; x</a>', "<a/><b/>text", "")

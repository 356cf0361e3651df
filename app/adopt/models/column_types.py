"""The SQLAlchemy type of a column, as an expression, and what its values are in Python."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from app.adopt.models.described_tables import DescribedType


class ColumnType(NamedTuple):
    """A type in a model: two expressions in terms of what `models.py` imports.

    Attributes:
        expression: makes the SQLAlchemy type.
        python: the annotation of its values.
    """

    expression: str
    python: str


# Types without a length or scale. Those that psycopg gives as text are str.
_PLAIN = {
    "bool": ColumnType("sa.Boolean()", "bool"),
    "int2": ColumnType("sa.SmallInteger()", "int"),
    "int4": ColumnType("sa.Integer()", "int"),
    "int8": ColumnType("sa.BigInteger()", "int"),
    "float4": ColumnType("sa.REAL()", "float"),
    "float8": ColumnType("sa.Double()", "float"),
    "text": ColumnType("sa.Text()", "str"),
    "varchar": ColumnType("sa.String()", "str"),
    "numeric": ColumnType("sa.Numeric()", "Decimal"),
    "date": ColumnType("sa.Date()", "dt.date"),
    "time": ColumnType("sa.Time()", "dt.time"),
    "timetz": ColumnType("sa.Time(timezone=True)", "dt.time"),
    "timestamp": ColumnType("sa.DateTime()", "dt.datetime"),
    "timestamptz": ColumnType("sa.DateTime(timezone=True)", "dt.datetime"),
    "interval": ColumnType("pg.INTERVAL()", "dt.timedelta"),
    "uuid": ColumnType("sa.Uuid()", "UUID"),
    "bytea": ColumnType("sa.LargeBinary()", "bytes"),
    "json": ColumnType("pg.JSON()", "Any"),
    "jsonb": ColumnType("pg.JSONB()", "Any"),
    "inet": ColumnType("pg.INET()", "str"),
    "cidr": ColumnType("pg.CIDR()", "str"),
    "macaddr": ColumnType("pg.MACADDR()", "str"),
    "macaddr8": ColumnType("pg.MACADDR8()", "str"),
    "money": ColumnType("pg.MONEY()", "str"),
    "oid": ColumnType("pg.OID()", "int"),
    "tsvector": ColumnType("pg.TSVECTOR()", "str"),
    "tsquery": ColumnType("pg.TSQUERY()", "str"),
    "int4range": ColumnType("pg.INT4RANGE()", "Range[int]"),
    "int8range": ColumnType("pg.INT8RANGE()", "Range[int]"),
    "numrange": ColumnType("pg.NUMRANGE()", "Range[Decimal]"),
    "daterange": ColumnType("pg.DATERANGE()", "Range[dt.date]"),
    "tsrange": ColumnType("pg.TSRANGE()", "Range[dt.datetime]"),
    "tstzrange": ColumnType("pg.TSTZRANGE()", "Range[dt.datetime]"),
    "int4multirange": ColumnType("pg.INT4MULTIRANGE()", "list[Range[int]]"),
    "int8multirange": ColumnType("pg.INT8MULTIRANGE()", "list[Range[int]]"),
    "nummultirange": ColumnType("pg.NUMMULTIRANGE()", "list[Range[Decimal]]"),
    "datemultirange": ColumnType("pg.DATEMULTIRANGE()", "list[Range[dt.date]]"),
    "tsmultirange": ColumnType("pg.TSMULTIRANGE()", "list[Range[dt.datetime]]"),
    "tstzmultirange": ColumnType("pg.TSTZMULTIRANGE()", "list[Range[dt.datetime]]"),
    "varbit": ColumnType("pg.BIT(varying=True)", "str"),
}
# pg_attribute.atttypmod of text types is their length and four; numeric's holds precision and scale.
_HEADER = 4


def column_type(type_oid: int, modifier: int, written: str, types: Mapping[int, DescribedType]) -> ColumnType:
    """The type in a model. One that Python has no form for passes its values through as text, under its own name.

    Args:
        written: the type as the server writes it, with its length or scale.
        types: by oid.
    """
    described = types[type_oid]
    if described.element is not None and described.kind == "b":
        found = column_type(described.element, modifier, written.removesuffix("[]"), types)
        # An array of what has no form of its own comes as one text.
        if not found.expression.startswith("DatabaseType"):
            return ColumnType(f"pg.ARRAY({found.expression})", f"list[{found.python}]")
        return _passed_through(written)
    if described.kind == "e" and described.labels:
        labels = ", ".join(map(quoted, described.labels))
        place = f"name={quoted(described.name)}, schema={quoted(described.schema)}"
        return ColumnType(f"pg.ENUM({labels}, {place}, create_type=False)", "str")
    if described.kind == "d" and described.base is not None:
        base = types[described.base]
        found = column_type(base.oid, described.modifier, base.written, types)
        return ColumnType(_passed_through(written).expression, found.python)  # its values are its base type's
    if described.schema != "pg_catalog":
        return _passed_through(written)
    if modifier == -1:
        return _PLAIN.get(described.name) or _passed_through(written)
    return _with_modifier(described.name, modifier) or _passed_through(written)


def _with_modifier(name: str, modifier: int) -> ColumnType | None:
    if name == "varchar":
        return ColumnType(f"sa.String({modifier - _HEADER})", "str")
    if name == "bpchar":
        return ColumnType(f"sa.CHAR({modifier - _HEADER})", "str")
    if name == "numeric":
        precision, scale = (modifier - _HEADER) >> 16 & 0xFFFF, (modifier - _HEADER) & 0x7FF
        if scale <= precision:  # a scale below zero or beyond the precision has no form in SQLAlchemy
            return ColumnType(f"sa.Numeric({precision}, {scale})", "Decimal")
    if name in {"timestamp", "timestamptz"}:
        return ColumnType(f"pg.TIMESTAMP(timezone={name == 'timestamptz'}, precision={modifier})", "dt.datetime")
    if name in {"time", "timetz"}:
        return ColumnType(f"pg.TIME(timezone={name == 'timetz'}, precision={modifier})", "dt.time")
    if name in {"bit", "varbit"}:
        return ColumnType(f"pg.BIT({modifier}{', varying=True' if name == 'varbit' else ''})", "str")
    return None


def _passed_through(written: str) -> ColumnType:
    return ColumnType(f"DatabaseType({quoted(written)})", "str")


def quoted(text: str) -> str:
    """A Python string literal in double quotes, on one line."""
    return json.dumps(text, ensure_ascii=False)

"""PostgreSQL's types by name: the models' in the catalog's words, and what becomes of a value between two of them.

A value goes from source to target as the source's text, and the target's type reads it. Some pairs keep every text or
refuse it; others change it without a word.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

Passage = Literal["same", "refused", "changed"]

_WORDS = {
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "int16": "smallint",  # the OpenAPI formats of PostgREST
    "int32": "integer",
    "int64": "bigint",
    "float": "double precision",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "decimal": "numeric",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
}
TEXTS = {"text", "character varying"}
_BUILTIN = {*_WORDS.values(), "text", "uuid", "date", "json", "jsonb", "bytea", "numeric", "bit", "money", "interval"}
_FOR_NAMES = {"name", '"char"'}
_INTEGERS = ("smallint", "integer", "bigint")
_TYPE = re.compile(r"(?P<head>[^(\[]+)(?:\((?P<arguments>[^)]*)\))?(?P<tail>[^(\[]*)(?P<array>(?:\[\])*)")


@dataclass(frozen=True, slots=True)
class _Type:
    base: str
    arguments: tuple[str, ...]
    array: bool


def catalog_name(text: str) -> str:
    """A type as `format_type` prints it: `VARCHAR(50)[]` becomes `character varying(50)[]`."""
    parsed = _parse(text)
    arguments = f"({','.join(parsed.arguments)})" if parsed.arguments else ""
    base, zone, words = parsed.base.partition(" with")  # timestamp(3) without time zone
    return f"{base}{arguments}{zone}{words}{'[]' if parsed.array else ''}"


def model_type(column: Column[object]) -> str | None:
    """A column's type in the catalog's words; None where the model does not say it, as after reflection."""
    try:
        compiled = column.type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    except Exception:
        return None
    return catalog_name(str(compiled).partition(" COLLATE ")[0])


def as_reflected(type_name: str) -> str:
    """What SQLAlchemy's reflection makes of a type that it has no type of its own for: a string of any length."""
    element = type_name.removesuffix("[]")
    return "character varying" + type_name.removeprefix(element) if element in _FOR_NAMES else type_name


def is_builtin(type_name: str) -> bool:
    """Whether a type, or that of an array's elements, is one of the well-known ones of PostgreSQL."""
    return _parse(type_name).base in _BUILTIN


def _parse(text: str) -> _Type:
    plain = text.strip()
    matched = _TYPE.fullmatch(plain)
    if matched is None or plain.startswith('"'):
        return _Type(plain.removesuffix("[]"), (), plain.endswith("[]"))
    base = f"{matched['head'].strip()}{matched['tail'].rstrip()}"
    known = base.lower()
    known = _WORDS.get(known, known)
    arguments = tuple(part.strip() for part in (matched["arguments"] or "").split(",") if part.strip())
    if known == "double precision":
        arguments = ()
    if known == "numeric" and len(arguments) == 1:
        arguments = (*arguments, "0")
    if known == "character" and not arguments and text.strip().lower().startswith("char"):
        arguments = ("1",)
    return _Type(known if known != base.lower() or base.isupper() else base, arguments, bool(matched["array"]))


def passage(source: str, target: str, *, arguments_known: bool = True, any_schema: bool = False) -> Passage:
    """What becomes of values between two types.

    Args:
        arguments_known: False where the source's type came without its length or scale.
        any_schema: the types are an extension's, so that its schema is of no matter.

    Returns:
        "same"; "refused": every value either goes in unchanged or is refused, and so kept in quarantine; or
        "changed": values may be changed without an error.
    """
    one, other = _parse(source), _parse(target)
    if same_user_type := _same_user_type(one, other, any_schema):
        one, other = same_user_type
    if one == other or (not arguments_known and (one.base, one.array) == (other.base, other.array)):
        return "same"
    if other.base in TEXTS and not other.array:
        return "refused"
    if one.array != other.array:
        return "changed"
    return _elements(one, other)


def _same_user_type(one: _Type, other: _Type, any_schema: bool) -> tuple[_Type, _Type] | None:
    """Both under one name, where they are one type of the user's or an extension's; `_mood` is an array of `mood`."""
    if _BUILTIN & {name.rpartition(".")[2] for name in (one.base, other.base)}:
        return None
    one, other = (
        replace(kind, base=kind.base.removeprefix("_"), array=True)
        if kind.base.startswith("_") and not kind.array and opposite.array
        else kind
        for kind, opposite in ((one, other), (other, one))
    )
    if not same_name(one.base, other.base, any_schema=any_schema):
        return None
    return tuple(  # type: ignore[return-value]
        replace(kind, base=other.base, arguments=tuple(map(str.lower, kind.arguments))) for kind in (one, other)
    )


def _elements(one: _Type, other: _Type) -> Passage:
    if other.base in TEXTS:
        return "refused" if one.base in {*TEXTS, "character"} or not one.array else "changed"
    if one.base == other.base == "numeric":
        return _numerics(one.arguments, other.arguments)
    if one.base == other.base:
        return _precisions(one, other)
    pair = (one.base, other.base)
    if one.base in (*_INTEGERS, "numeric") and other.base in _INTEGERS:
        return "refused"
    if one.base in _INTEGERS and other.base == "numeric":
        return "refused" if not other.arguments or other.arguments[1] == "0" else "changed"
    if pair in {("smallint", "double precision"), ("integer", "double precision"), ("smallint", "real")}:
        return "refused"
    if pair == ("jsonb", "json"):
        return "refused"
    return "changed"


def _numerics(one: tuple[str, ...], other: tuple[str, ...]) -> Passage:
    """The scale is part of the text: fewer places round, more add zeros."""
    if not other:
        return "refused"
    return "refused" if one and one[1] == other[1] else "changed"


def _precisions(one: _Type, other: _Type) -> Passage:
    """The same type with other lengths: character(n), bit(n), timestamp(n)."""
    if one.base.startswith(("timestamp", "time", "interval")):
        most = 6
        ours = int(one.arguments[0]) if one.arguments else most
        theirs = int(other.arguments[0]) if other.arguments else most
        return "refused" if theirs >= ours else "changed"
    return "refused"


# Numbers from 16384 on are of what was made after the database (src/include/access/transam.h, FirstNormalObjectId).
USER_TYPES = """
SELECT c.relname, a.attname, (WITH RECURSIVE step (base, typmod) AS (
        SELECT t.typbasetype, t.typtypmod WHERE t.typtype = 'd'
        UNION ALL SELECT b.typbasetype, b.typtypmod FROM step JOIN pg_type b ON b.oid = step.base AND b.typtype = 'd')
    SELECT format_type(step.base, step.typmod) FROM step JOIN pg_type b ON b.oid = step.base AND b.typtype <> 'd'),
    EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.deptype = 'e'
        AND e.objid = coalesce(element.oid, t.oid)),
    ARRAY(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = coalesce(element.oid, t.oid)
        ORDER BY l.enumsortorder)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type element ON element.typarray = t.oid
WHERE n.nspname = %s AND a.attnum > 0 AND NOT a.attisdropped AND t.oid >= 16384
"""
_PART = r'"(?:[^"]|"")+"|[^".]+'
_NAME = re.compile(rf"(?:(?P<schema>{_PART})\.)?(?P<name>{_PART})")


@dataclass(frozen=True, slots=True)
class UserType:
    """The type of a column, or that of the elements of its array.

    Attributes:
        base: of a domain, the type under it and under the domains that it is made of.
        of_extension: an extension made it, so that its schema is wherever the extension is.
        labels: of an enum, in their order.
    """

    base: str | None = None
    of_extension: bool = False
    labels: tuple[str, ...] = ()


def same_name(one: str, other: str, *, any_schema: bool = False) -> bool:
    """Whether two names are of one type: `public.mood` and `mood`; not two that say different schemas.

    Args:
        any_schema: what schema each says is of no matter.
    """
    first, second = _NAME.fullmatch(one), _NAME.fullmatch(other)
    if first is None or second is None or _plain(first["name"]) != _plain(second["name"]):
        return False
    return (
        any_schema or not (first["schema"] and second["schema"]) or _plain(first["schema"]) == _plain(second["schema"])
    )


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name

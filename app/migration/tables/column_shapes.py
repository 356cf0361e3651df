"""What the types of a table's columns are made of: domains, arrays, composites and ranges, by the catalog."""

from collections import defaultdict
from dataclasses import dataclass

# One row for each type that a column's type is made of, itself included. An element has its array's modifier.
# pg_range.rngmultitypid came with PostgreSQL 14.
PARTS = """
WITH RECURSIVE part (name, depth, how, typid, typmod) AS (
    SELECT a.attname, 0, 'column', a.atttypid, a.atttypmod FROM pg_attribute a
    WHERE a.attrelid = to_regclass({table}) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT p.name, p.depth + 1, CASE WHEN p.how = 'inside' THEN 'inside' ELSE made.how END, made.typid, made.typmod
    FROM part p JOIN pg_type t ON t.oid = p.typid CROSS JOIN LATERAL (
        SELECT p.how, t.typbasetype, CASE WHEN t.typtypmod = -1 THEN p.typmod ELSE t.typtypmod END
        WHERE t.typtype = 'd'
        UNION ALL
        SELECT CASE p.how WHEN 'column' THEN 'element' ELSE 'inside' END, t.typelem, p.typmod
        WHERE t.typelem <> 0 AND t.typlen = -1 AND t.typtype <> 'd'
        UNION ALL
        SELECT 'inside', f.atttypid, f.atttypmod FROM pg_attribute f
        WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped
        UNION ALL
        SELECT 'inside', r.rngsubtype, -1 FROM pg_range r
        WHERE t.oid IN (r.rngtypid, (to_jsonb(r) ->> 'rngmultitypid')::oid)
    ) AS made (how, typid, typmod)
)
SELECT p.name, p.depth, p.how, t.typname, p.typmod, format_type(p.typid, -1), format_type(p.typid, p.typmod),
    t.typnamespace = 'pg_catalog'::regnamespace, t.typdelim = ','
FROM part p JOIN pg_type t ON t.oid = p.typid
"""
# Types that a modifier makes shorter or coarser, without an error where the cast is explicit or the rest is blanks.
_NARROWED = {"numeric", "varchar", "bpchar", "bit", "varbit", "time", "timetz", "timestamp", "timestamptz", "interval"}
# Types whose text is another one in another session: by its time zone, IntervalStyle, bytea_output.
_STYLED = {"timestamptz", "interval", "bytea"}
# What stands for the type as which values are compared, where one of those is inside a composite type or a range.
INSIDE = "inside"
# Builtin types that a cast from text cuts to their length, without an error: 63 bytes, and one.
_CUT = {"name", "char"}
_JSON = {"json", "jsonb"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A column's type.

    Attributes:
        written: with its length or scale, as in `character varying(50)`.
        parts: names (pg_type.typname) of all the types it is made of.
        exact: where values may be shortened or rounded to fit: the type in which they are compared with what came of
            them, "text" for one that is cut or taken apart no further; None: each value is taken whole, or refused.
        opaque: a type that people made has others inside, which may not be those that a type of its name has elsewhere.
        styled: where equal values may have different texts, by the settings of the session that wrote them: the builtin
            type as which they are compared, or `INSIDE`.
        listable: a list with commas is one of several values: neither where the type is an array, nor where it has
            another delimiter.
        is_json: json or jsonb, or a domain over one.
    """

    written: str = ""
    parts: frozenset[str] = frozenset()
    exact: str | None = None
    styled: str | None = None
    opaque: bool = False
    listable: bool = True
    is_json: bool = False


Part = tuple[str, int, str, str, int, str, str, bool, bool]


def shapes(parts: list[Part]) -> dict[str, Shape]:
    """The shape of each column, from the rows of `PARTS`."""
    by_column: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_column[part[0]].append(part)
    return {name: _shape(rows) for name, rows in by_column.items()}


def _shape(rows: list[Part]) -> Shape:
    written, exact, styled = "", None, None
    for _, depth, how, typname, typmod, plain, full, is_builtin, _ in rows:
        if depth == 0:
            written = full
        if not is_builtin:
            continue
        if typname in _STYLED:
            styled = {"column": plain, "element": f"{plain}[]"}.get(how, INSIDE)
        if typname in _CUT:
            found = "text[]" if how == "element" else "text"
            exact = found if exact in {None, found} else "text"
        elif typname in _NARROWED and typmod != -1:
            found = {"column": plain, "element": f"{plain}[]"}.get(how, "text")
            exact = found if exact in {None, found} else "text"
    if exact == "text":
        styled = None  # what would be cut or rounded in there shows in the texts alone
    return Shape(
        written=written,
        parts=frozenset(row[3] for row in rows),
        exact=exact,
        styled=styled,
        opaque=len({row[7] for row in rows}) > 1,
        is_json=any(row[2] == "column" and row[3] in _JSON and row[7] for row in rows),
        listable=all((row[2] == "column" and row[8]) or row[2] == "inside" for row in rows),
    )

"""What the page server understands of PostgREST's query language, turned into one SQL statement.

The clauses that a copier sends: a select list with casts, comparisons of single columns, order, limit, offset.
Anything else raises `UnknownRequestError`, so that no test passes on an answer that was guessed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_NAME = r'"(?:[^"\\]|\\.)*"|[\w$ -]+'
_SELECT_ITEM = re.compile(rf"(?:(\w+):(?!:))?({_NAME}|\*)(?:::([\w$ ]+))?")
_ORDER_ITEM = re.compile(rf"({_NAME})((?:\.(?:asc|desc|nullsfirst|nullslast))*)")
_LIST_ITEM = re.compile(r'"(?:[^"\\]|\\.)*"|[^,"()]+')
_COMPARISONS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_WORDS = {"asc": "ASC", "desc": "DESC", "nullsfirst": "NULLS FIRST", "nullslast": "NULLS LAST"}


class UnknownRequestError(Exception):
    """The request uses what this server does not know."""


@dataclass(frozen=True)
class Window:
    """The rows asked for: `offset` rows are left out, `limit` follow at most."""

    offset: int = 0
    limit: int | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, str], range_header: str | None) -> "Window":
        """From the parameters `limit` and `offset`, else from a Range header such as `2-4`."""
        if range_header and not parameters.keys() & {"limit", "offset"}:
            first, _, last = range_header.partition("-")
            return cls(int(first), int(last) - int(first) + 1 if last else None)
        limit = parameters.get("limit")
        return cls(int(parameters.get("offset", 0)), None if limit is None else int(limit))

    def capped(self, max_rows: int | None) -> "Window":
        """The same, cut by the server's row cap."""
        caps = [number for number in (self.limit, max_rows) if number is not None]
        return Window(self.offset, min(caps, default=None))


@dataclass
class Statement:
    """SQL text and the values of its `$1`, `$2` ...

    The values have no type of their own: PostgreSQL takes each as the type of the column it is compared with.
    """

    text: str
    values: list[bytes] = field(default_factory=list)


def page_statement(
    table: str, parameters: Sequence[tuple[str, str]], window: Window, *, counted: bool, schema: str = "public"
) -> Statement:
    """The statement that answers a page: rows in the page, rows in all (NULL unless counted), the page as JSON text."""
    relation = relation_of(schema, table)
    named = dict(parameters)
    values: list[bytes] = []
    where = where_of(table, parameters, values)
    order = f" ORDER BY {_order(table, named['order'])}" if "order" in named else ""
    limit = "" if window.limit is None else f" LIMIT {window.limit}"
    total = f"(SELECT count(*) FROM {relation}{where})" if counted else "NULL"
    columns = select_of(table, named.get("select", "*"))
    page = f"SELECT {columns} FROM {relation}{where}{order}{limit} OFFSET {window.offset}"
    return Statement(
        f"WITH page AS ({page}) SELECT count(row), {total}, coalesce(json_agg(row), '[]')::text FROM (TABLE page) row",
        values,
    )


def where_of(table: str, parameters: Sequence[tuple[str, str]], values: list[bytes]) -> str:
    """The WHERE clause for the filters among the parameters; what is compared with is added to the values."""
    conditions = [
        _condition(f"{quote_identifier(table)}.{quote_identifier(_unquoted(name))}", operation, values)
        for name, operation in parameters
        if name not in {"select", "order", "limit", "offset"}
    ]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def names_of(text: str) -> list[str]:
    """The names in a list such as that of `columns` or `on_conflict`."""
    return [_unquoted(item.group()) for item in _items(text, re.compile(_NAME))]


def relation_of(schema: str, table: str) -> str:
    """A table's name with its schema as SQL takes it."""
    return f"{quote_identifier(schema)}.{quote_identifier(table)}"


def quote_identifier(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _items(text: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """The items of a list separated by commas, each of which is to match the whole pattern."""
    found, position = [], 0
    while position <= len(text):
        item = pattern.match(text, position)
        if item is None or (item.end() < len(text) and text[item.end()] != ","):
            raise UnknownRequestError(f"cannot read {text!r} from position {position}")
        found.append(item)
        position = item.end() + 1
    return found


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1], flags=re.DOTALL) if name.startswith('"') else name


def select_of(table: str, text: str) -> str:
    """The columns of a select list.

    A cast is letters, digits, blanks, `_` and `$`, as in PostgREST's grammar: no brackets, no dot, no quotation marks.
    """
    columns = []
    for item in _items(text, _SELECT_ITEM):
        alias, name, cast = item.groups()
        if name == "*":
            columns.append(f"{quote_identifier(table)}.*")
            continue
        quoted = quote_identifier(_unquoted(name))
        columns.append(f"{quote_identifier(table)}.{quoted}{f'::{cast.strip()}' if cast else ''} AS {alias or quoted}")
    return ", ".join(columns)


def _order(table: str, text: str) -> str:
    return ", ".join(
        " ".join(
            [
                f"{quote_identifier(table)}.{quote_identifier(_unquoted(item.group(1)))}",
                *(_WORDS[word] for word in item.group(2).split(".") if word),
            ]
        )
        for item in _items(text, _ORDER_ITEM)
    )


def _condition(column: str, operation: str, values: list[bytes]) -> str:
    operator, _, value = operation.partition(".")
    if operator == "not":
        return f"NOT {_condition(column, value, values)}"
    if operation == "is.null":
        return f"{column} IS NULL"
    if operator == "in" and value.startswith("(") and value.endswith(")"):
        listed = [_unquoted(item.group()) for item in _items(value[1:-1], _LIST_ITEM)] if value != "()" else []
        escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in listed)
        values.append(("{" + ",".join(f'"{text}"' for text in escaped) + "}").encode())
        return f"{column} = ANY (${len(values)})"
    if operator in _COMPARISONS:
        values.append(value.encode())
        return f"{column} {_COMPARISONS[operator]} ${len(values)}"
    raise UnknownRequestError(f"no operator like {operation!r}")

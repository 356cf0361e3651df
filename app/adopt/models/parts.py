"""Writes columns, constraints and indexes as SQLAlchemy has them."""

import re
from collections.abc import Mapping

from app.adopt.models.column_types import ColumnType, quoted
from app.adopt.models.described_tables import DescribedColumn, DescribedConstraint, DescribedIndex, DescribedTable
from app.adopt.models.named_tables import NamedTable, Place, parent_of

_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
# What an identity column's sequence has where nothing is said of it, but for its limits, which are its type's.
_USUAL_IDENTITY = {"start": 1, "increment": 1, "minvalue": 1, "cycle": False, "cache": 1}
_LIMITS = {2**15 - 1, 2**31 - 1, 2**63 - 1}
# A colon and a name are a parameter to SQLAlchemy's text(). It takes a backslash before a colon away, unless another
# colon follows the name.
_COLON = re.compile(r"(?<![:\w]):(?=[\w$]+(?![\w$:]))|(?<=\\):(?![\w$:])")
_PARAMETER = re.compile(r"(?<![:\w\\]):\w+(?!:)")


def column_parts(column: DescribedColumn, kind: ColumnType, is_key: bool) -> list[str]:
    """What stands in a column's brackets after its name."""
    parts = [kind.expression]
    if column.generated:
        parts.append(f"sa.Computed({_value(column.default or '')}, persisted={column.generated == 's'})")
    elif column.identity:
        options = column.identity_options or {}
        said = {key: value for key, value in options.items() if _USUAL_IDENTITY.get(key) != value}
        if said.get("maxvalue") in _LIMITS:
            del said["maxvalue"]
        written = [f"always={column.identity == 'a'}", *(f"{key}={value!r}" for key, value in sorted(said.items()))]
        parts.append(f"sa.Identity({', '.join(written)})")
    if is_key:
        parts.append("primary_key=True")
    elif column.not_null:
        parts.append("nullable=False")
    if column.default is not None and not column.generated:
        parts.append(f"server_default={_value(column.default)}")
    if column.comment:
        parts.append(f"comment={quoted(column.comment)}")
    return parts


def _text(expression: str) -> str:
    return f"sa.text({quoted(_COLON.sub(chr(92) + chr(92) + ':', expression))})"


def _value(expression: str) -> str:
    """As `_text`, or as it is where text() cannot say it."""
    is_said = _PARAMETER.search(_COLON.sub(r"\:", expression)) is None
    return _text(expression) if is_said else f"sa.literal_column({quoted(expression)})"


def is_argument(constraint: DescribedConstraint, by_table: Mapping[Place, NamedTable]) -> bool:
    """Whether a constraint stands beside the columns: not a foreign key to a table that does not come along."""
    return constraint.kind != "f" or parent_of(constraint) in by_table


def constraint_argument(
    table: DescribedTable,
    constraint: DescribedConstraint,
    by_table: Mapping[Place, NamedTable],
    later: set[Place],
) -> str:
    """A key, a check or a foreign key; `later` as `relationships.closing_keys` gives it."""
    key, carried = constraint.columns[: constraint.key_size], constraint.columns[constraint.key_size :]
    columns = ", ".join(map(quoted, key))
    options = [f"name={quoted(constraint.name)}"]
    if constraint.deferrable:
        options += ["deferrable=True", f"initially={quoted('DEFERRED' if constraint.deferred else 'IMMEDIATE')}"]
    if carried:
        options.append(f"postgresql_include=[{', '.join(map(quoted, carried))}]")
    if constraint.kind == "c":
        return f"sa.CheckConstraint({_text(constraint.check or '')}, {', '.join(options)})"
    if constraint.kind == "f":
        schema, name = parent_of(constraint)
        full = name if schema == "public" else f"{schema}.{name}"
        referred = ", ".join(
            f"({quoted(schema)}, {quoted(name)}, {quoted(column)})"
            if "." in name + column
            else quoted(f"{full}.{column}")
            for column in constraint.parent_columns
        )
        if constraint.on_delete in _ACTIONS:
            options.append(f"ondelete={quoted(_ACTIONS[constraint.on_delete] + (constraint.sets_columns or ''))}")
        if constraint.on_update in _ACTIONS:
            options.append(f"onupdate={quoted(_ACTIONS[constraint.on_update])}")
        if (f"{table.schema}.{table.name}", constraint.name) in later:
            options.append("use_alter=True")
        return f"sa.ForeignKeyConstraint([{columns}], [{referred}], {', '.join(options)})"
    if constraint.nulls_not_distinct:
        options.append("postgresql_nulls_not_distinct=True")
    kind = "PrimaryKeyConstraint" if constraint.kind == "p" else "UniqueConstraint"
    return f"sa.{kind}({columns}, {', '.join(options)})"


def index_argument(index: DescribedIndex) -> str:
    """An index with its order, method, operator classes and condition."""
    parts, classes = [], {}
    for text, column, order, operator_class in index.parts[: index.key_size]:
        sorting = _sorting(order or 0)
        parts.append(quoted(column) if column is not None and not sorting else _text(f"{text}{sorting}"))
        if operator_class is not None and column is not None:
            classes[column] = operator_class
    options = ["unique=True"] if index.unique else []
    if index.method != "btree":
        options.append(f"postgresql_using={quoted(index.method)}")
    if index.where is not None:
        options.append(f"postgresql_where={_text(index.where)}")
    if classes:
        written = ", ".join(f"{quoted(column)}: {quoted(name)}" for column, name in classes.items())
        options.append(f"postgresql_ops={{{written}}}")
    if carried := [column for _, column, _, _ in index.parts[index.key_size :] if column is not None]:
        options.append(f"postgresql_include=[{', '.join(map(quoted, carried))}]")
    if index.nulls_not_distinct:
        options.append("postgresql_nulls_not_distinct=True")
    return f"sa.Index({', '.join([quoted(index.name), *parts, *options])})"


def _sorting(order: int) -> str:
    """pg_index.indoption: bit 1 descending, bit 2 NULLs first (src/include/catalog/pg_index.h)."""
    return {0: "", 1: " DESC NULLS LAST", 2: " NULLS FIRST", 3: " DESC"}[order & 3]

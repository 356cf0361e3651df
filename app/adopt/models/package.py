"""Writes the package of models: a module a table, a class where rows have a key; columns, constraints and indexes."""

import re
from collections.abc import Mapping, Sequence

from app.adopt.models.column_types import ColumnType, column_type, quoted
from app.adopt.models.described_tables import (
    DescribedColumn,
    DescribedConstraint,
    DescribedIndex,
    DescribedTable,
    DescribedType,
)
from app.adopt.models.named_tables import NamedTable, Place, closing_keys, name_tables, parent_of, relate

# What a module may import, in ruff's order, and how a text shows that it uses it.
_STANDARD = {
    "import": ("datetime as dt",),
    "from decimal import": ("Decimal",),
    "from typing import": ("TYPE_CHECKING", "Any"),
    "from uuid import": ("UUID",),
}
_THIRD = {
    "import": ("sqlalchemy as sa",),
    "from sqlalchemy.dialects import": ("postgresql as pg",),
    "from sqlalchemy.dialects.postgresql import": ("Range",),
    "from sqlalchemy.orm import": ("Mapped", "mapped_column", "relationship"),
}
_USED = {
    "datetime as dt": r"\bdt\.",
    "Decimal": r"\bDecimal\b",
    "Any": r"\bAny\b",
    "UUID": r"\bUUID\b",
    "sqlalchemy as sa": r"\bsa\.",
    "postgresql as pg": r"\bpg\.",
    "Range": r"\bRange\[",
    "Mapped": r"\bMapped\[",
    "mapped_column": r"\bmapped_column\(",
    "relationship": r"\brelationship\(",
    "Base": "",  # each does
    "DatabaseType": r"DatabaseType\(",
}
_STRING = re.compile(r'"(\\.|[^"\\])*"')


def write_models(
    package: str, tables: Sequence[DescribedTable], types: Mapping[int, DescribedType], hidden: Mapping[str, set[str]]
) -> dict[str, str]:
    """The modules of the package by file name, without `base.py`.

    Args:
        hidden: by table, columns whose values stay where they are.
    """
    models = name_tables(tables, hidden)
    by_table = {(model.table.schema, model.table.name): model for model in models}
    later = closing_keys(tables)
    for model in models:
        relate(model, by_table, later)
    files = {f"{model.module}.py": _module(package, model, types, by_table, later) for model in models}
    imports = [f"from {package}.{model.module} import {model.class_name}" for model in models]
    exported = sorted(["Base", *(model.class_name for model in models)])
    files["__init__.py"] = "\n".join(
        [
            '"""The models of all tables."""',
            "",
            *sorted([f"from {package}.base import Base", *imports]),
            "",
            "__all__ = [",
            *(f"    {quoted(name)}," for name in exported),
            "]",
            "",
        ]
    )
    return files


def _module(
    package: str,
    model: NamedTable,
    types: Mapping[int, DescribedType],
    by_table: Mapping[Place, NamedTable],
    later: set[Place],
) -> str:
    table = model.table
    found = {column.name: column_type(column.type_oid, column.modifier, column.type, types) for column in table.columns}
    arguments = [_constraint_argument(table, c, later) for c in table.constraints if _is_argument(c, by_table)]
    arguments += [_index_argument(index) for index in table.indexes]
    options = [f'"schema": {quoted(table.schema)}'] if table.schema != "public" else []
    options += [f'"comment": {quoted(table.comment)}'] if table.comment else []
    if table.schema == "auth":
        left_out = f', "left_out": [{", ".join(map(quoted, model.left_out))}]' if model.left_out else ""
        options.append(f'"info": {{"keys_only": True{left_out}}}')
    body = _class(model, found, arguments, options) if model.key else _table(model, found, arguments, options)
    text = "\n".join(body)
    name = f"{table.schema}.{table.name}"
    return "\n".join(
        [
            f'"""The table {_in_docstring(name)}."""',
            "",
            *_imports(package, model, text),
            *[""] * (2 if model.key else 1),
            text,
            "",
        ]
    )


def _in_docstring(text: str) -> str:
    return quoted(text)[1:-1] if text.isprintable() else quoted(text)[1:-1].encode("ascii", "backslashreplace").decode()


def _imports(package: str, model: NamedTable, text: str) -> list[str]:
    """Only what the module uses, in ruff's order."""
    text = _STRING.sub('""', text)  # a comment or a docstring may say anything
    used = {name for name, pattern in _USED.items() if re.search(pattern, text)}
    if model.key and model.others:
        used.add("TYPE_CHECKING")
    groups = []
    for froms in (_STANDARD, _THIRD, {f"from {package}.base import": ("Base", "DatabaseType")}):
        names = {start: [name for name in exported if name in used] for start, exported in froms.items()}
        groups.append([f"{start} {', '.join(found)}" for start, found in names.items() if found])
    result = [line for group in groups if group for line in [*group, ""]][:-1]
    if model.key and model.others:
        result += ["", "if TYPE_CHECKING:"]
        result += [f"    from {package} import {', '.join(sorted(model.others))}"]
    return result


def _class(model: NamedTable, found: Mapping[str, ColumnType], arguments: list[str], options: list[str]) -> list[str]:
    table = model.table
    lines = [
        f"class {model.class_name}(Base):",
        f'    """A row of {_in_docstring(f"{table.schema}.{table.name}")}."""',
        "",
        f"    __tablename__ = {quoted(table.name)}",
    ]
    if options:
        arguments = [*arguments, f"{{{', '.join(options)}}}"]
    if arguments:
        lines += ["    __table_args__ = (", *(f"        {argument}," for argument in arguments), "    )"]
    if table.primary_key is None:
        attributes = "".join(f"{quoted(model.attributes[column])}, " for column in model.key).rstrip(", ")
        lines.append(f'    __mapper_args__ = {{"primary_key": [{attributes}]}}')
    lines.append("")
    for column in table.columns:
        attribute, kind = model.attributes[column.name], found[column.name]
        is_key = table.primary_key is not None and column.name in model.key
        named = [] if attribute == column.name else [quoted(column.name)]
        rest = ", ".join([*named, *_column_parts(column, kind, is_key)])
        optional = "" if column.not_null else " | None"
        lines.append(f"    {attribute}: Mapped[{kind.python}{optional}] = mapped_column({rest})")
    if model.relationships:
        lines += ["", *(f"    {relationship}" for relationship in model.relationships)]
    return lines


def _table(model: NamedTable, found: Mapping[str, ColumnType], arguments: list[str], options: list[str]) -> list[str]:
    """A table without a key, which has no class: nothing tells one of its rows from another."""
    columns = [
        f"sa.Column({quoted(column.name)}, {', '.join(_column_parts(column, found[column.name], False))})"
        for column in model.table.columns
    ]
    settings = [option.replace('"', "", 2).replace(": ", "=", 1) for option in options]
    return [
        f"{model.class_name} = sa.Table(",
        f"    {quoted(model.table.name)},",
        "    Base.metadata,",
        *(f"    {part}," for part in [*columns, *arguments, *settings]),
        ")",
    ]


_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
# What an identity column's sequence has where nothing is said of it, but for its limits, which are its type's.
_USUAL_IDENTITY = {"start": 1, "increment": 1, "minvalue": 1, "cycle": False, "cache": 1}
_LIMITS = {2**15 - 1, 2**31 - 1, 2**63 - 1}
# A colon and a name are a parameter to SQLAlchemy's text(). It takes a backslash before a colon away, unless another
# colon follows the name.
_COLON = re.compile(r"(?<![:\w]):(?=[\w$]+(?![\w$:]))|(?<=\\):(?![\w$:])")
_PARAMETER = re.compile(r"(?<![:\w\\]):\w+(?!:)")


def _column_parts(column: DescribedColumn, kind: ColumnType, is_key: bool) -> list[str]:
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


def _is_argument(constraint: DescribedConstraint, by_table: Mapping[Place, NamedTable]) -> bool:
    """Whether a constraint stands beside the columns: not a foreign key to a table that does not come along."""
    return constraint.kind != "f" or parent_of(constraint) in by_table


def _constraint_argument(table: DescribedTable, constraint: DescribedConstraint, later: set[Place]) -> str:
    """A key, a check or a foreign key; `later` as `closing_keys` gives it."""
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


def _index_argument(index: DescribedIndex) -> str:
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

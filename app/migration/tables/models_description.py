"""What another project's models say of its tables, as JSON.

It is run by its path, in a process of its own: there a package `app` is the project's. So it imports nothing of ours.

    python -P models_description.py package.module:Base '["/where/to/look", "/and/then"]'
"""

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

_TABLE_INFO = ("changed_at", "group", "keys_only", "left_out", "natural_key")
_COLUMN_INFO = ("phone",)
_ORDERS = (operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op)


def describe_models(name: str) -> dict[str, Any]:
    """The tables of a declarative base or a MetaData, which is imported.

    Args:
        name: "package.module:Base".

    Returns:
        `{"tables": [...]}`, or `{"error": text}` where there are none. The text quotes no message but an ImportError's:
        others may hold settings.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # another project's code: whatever it does when it is imported
        said = f": {error}" if isinstance(error, ImportError) else ""
        return {"error": f"{module_name} cannot be imported: {type(error).__name__}{said}{_place(error)}"}
    if not hasattr(module, attribute):
        return {"error": f"the module {module_name} has no {attribute}"}
    found = getattr(module, attribute)
    metadata = found if isinstance(found, MetaData) else getattr(found, "metadata", None)
    if not isinstance(metadata, MetaData):
        return {"error": f"{name} is neither a declarative base nor a MetaData"}
    return {"tables": [_table(table) for table in metadata.tables.values()]}


def of_expressions(index: Index) -> bool:
    """Whether a part of the index is more than a column in an order: SQLAlchemy lists the columns inside it, too."""
    parts: list[Any] = list(index.expressions)
    while ordered := [part for part in parts if isinstance(part, UnaryExpression) and part.modifier in _ORDERS]:
        parts = [part.element if part in ordered else part for part in parts]
    return not all(isinstance(part, Column) for part in parts)


def _place(error: BaseException) -> str:
    """The project's line at which an error came, where one of its lines did it."""
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})"
    lines = traceback.extract_tb(error.__traceback__)
    ours = [line for line in lines if Path(line.filename).is_relative_to(Path.cwd())]
    return f" ({Path(ours[-1].filename).relative_to(Path.cwd())}, line {ours[-1].lineno})" if ours else ""


def _table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "schema": table.schema,
        "info": {name: table.info[name] for name in _TABLE_INFO if name in table.info},
        "columns": [_column(column) for column in table.columns],
        "primary_key": table.primary_key.columns.keys(),
        "unique": [
            {"columns": one.columns.keys(), "deferrable": bool(one.deferrable)}
            for one in table.constraints
            if isinstance(one, UniqueConstraint) and len(one.columns)
        ],
        "indexes": [
            {
                "name": index.name,
                "columns": [column.key for column in index.columns],
                "partial": index.dialect_options["postgresql"]["where"] is not None,
                "of_expressions": of_expressions(index),
            }
            for index in table.indexes
            if index.unique and len(index.columns)
        ],
        "foreign_keys": [
            {
                "columns": one.column_keys,
                "refers_to": [element.target_fullname for element in one.elements],
                "use_alter": one.use_alter,
                "name": one.name,
            }
            for one in table.foreign_key_constraints
        ],
    }


def _column(column: Column[Any]) -> dict[str, Any]:
    try:
        written = str(column.type.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    except Exception:  # a type that has no name, as reflection leaves it, or a type of the project's own
        written = None
    return {
        "name": column.name,
        "key": column.key,
        "type": written,
        "nullable": column.nullable,
        "computed": column.computed is not None,
        "info": {name: bool(column.info[name]) for name in _COLUMN_INFO if name in column.info},
    }


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches both processes; the other one tells of it
    answer = os.dup(1)
    os.dup2(2, 1)  # what the project prints belongs to standard error
    sys.path[:] = json.loads(sys.argv[2])
    described = json.dumps(describe_models(sys.argv[1]), default=str).encode()
    with os.fdopen(answer, "wb") as file:
        file.write(described)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # whatever the project has started, such as threads, is not waited for


if __name__ == "__main__":
    _main()

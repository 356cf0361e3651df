"""What the tables of a project hold, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import psycopg
from psycopg import sql

_RELATIONS = """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = ANY (%(kinds)s) AND relispopulated
        AND nspname <> 'information_schema' AND nspname !~ '^(pg_|botdata$)'
        AND (relkind = 'p' OR NOT relispartition OR %(partitions)s)
    ORDER BY 1, 2
"""
_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE schemaname <> 'botdata' ORDER BY 1, 2"
_AS_TEXT = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 1; SET search_path = ''"


def relations(connection: psycopg.Connection, kinds: str, *, partitions: bool) -> list[tuple[str, str]]:
    """Schemas and names of the relations of these kinds, as pg_class.relkind has them."""
    return connection.execute(_RELATIONS, {"kinds": list(kinds), "partitions": partitions}).fetchall()


def _rows(url: str) -> dict[str, list[str]]:
    """The rows of each table itself, and of each filled materialized view, as text; and how far sequences are."""
    statement = sql.SQL('SELECT t::text COLLATE "C" FROM ONLY {} t ORDER BY 1')
    with psycopg.connect(url) as connection:
        connection.execute(_AS_TEXT)
        found = {
            f"{schema}.{name}": [text for (text,) in connection.execute(statement.format(sql.Identifier(schema, name)))]
            for schema, name in relations(connection, "rm", partitions=True)
        }
        sequences = connection.execute(_SEQUENCES).fetchall()
        return found | {f"{row[0]}.{row[1]}": [str(row)] for row in sequences}


def differences(source: str, target: str, without: Collection[str] = ()) -> dict[str, set[str]]:
    """By relation what only one side has, or has more often; a view that the source never filled is left out.

    Args:
        without: schemas that are left out.
    """
    expected, found = _rows(source), _rows(target)
    return {
        name: set((Counter(rows) - Counter(found.get(name, ()))) + (Counter(found.get(name, ())) - Counter(rows)))
        for name, rows in expected.items()
        if rows != found.get(name) and name.partition(".")[0] not in without
    }

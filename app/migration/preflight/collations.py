"""Collations whose order has changed since indexes were made in it: after an upgrade of the C library, or of ICU."""

from collections.abc import Sequence

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.migration.preflight.findings import Finding, finding
from app.migration.tables.copy_table import name_of, quoted
from app.state.fetching import fetch_rows

_VERSIONED_DATABASES = 15  # the first PostgreSQL that keeps a version for a database's own collation
# An index may have another collation than its column. The default collation is the database's.
_OLD = """
SELECT k.name, k.made, k.now, array_agg(DISTINCT k.relation ORDER BY k.relation) FROM (
    SELECT t.place AS relation, c.oid, c.oid::regcollation::text AS name, c.collversion AS made,
        pg_collation_actual_version(c.oid) AS now
    FROM unnest(%(schemas)s::text[], %(relations)s::text[], %(names)s::text[]) AS t (schema, relation, place)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = t.relation
    JOIN pg_index x ON x.indrelid = r.oid
    CROSS JOIN LATERAL unnest(x.indcollation::oid[]) AS used (oid) JOIN pg_collation c ON c.oid = used.oid
) k WHERE k.made IS NOT NULL AND k.now IS NOT NULL AND k.made <> k.now GROUP BY 1, 2, 3 ORDER BY 1
"""
_OLD_DEFAULT = """
SELECT datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
"""


async def collation_findings(
    connection: AsyncConnection, tables: Sequence[Table], end: str, *, version: int
) -> list[Finding]:
    """A finding for each collation of another version than its indexes were made in.

    Args:
        end: "source" or "target".
        version: the server's.
    """
    given = {
        "schemas": [table.schema or schemas_of(connection).data for table in tables],
        "relations": [table.name for table in tables],
        "names": [name_of(table) for table in tables],
    }
    found = [
        _finding(
            end, f"collation {name}", made, now, f"indexes of {', '.join(places)}", f"ALTER COLLATION {name} REFRESH"
        )
        for name, made, now, places in await fetch_rows(connection, _OLD, given)
    ]
    if version >= _VERSIONED_DATABASES:
        found += [
            _finding(
                end,
                f"database {name}",
                made,
                now,
                "indexes on texts",
                f"ALTER DATABASE {quoted(name)} REFRESH COLLATION",
            )
            for name, made, now in await fetch_rows(connection, _OLD_DEFAULT)
        ]
    return found


def _finding(end: str, what: str, made: str, now: str, where: str, alter: str) -> Finding:
    return finding(
        f"{end}-collation-version",
        f"{what} of the {end} was made with version {made} of its library, which is {now} now: {where} may be in "
        "another order, so that rows are not found by them",
        f"REINDEX them, then: {alter} VERSION; a copy counts, and stops where rows are left out",
    )

"""Materialized views that are made of the moved tables: found, refreshed, or named with what refreshes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.driver_errors import missing_right
from app.common.schemas import said
from app.errors import error_for_sqlstate
from app.migration.sources.source import Progress
from app.migration.tables.copy_table import CopyTable, identifier_of, named
from app.migration.target.leftovers import Unusable
from app.state.fetching import fetch_each

# Partitions and the tables that others inherit from hold each other's rows. A view that is made of another has a
# longer way to the tables, so that the longest way is an order to refresh them in.
_DEPENDENTS = """
WITH RECURSIVE below (oid) AS (
    SELECT to_regclass(name)::oid FROM unnest(%(tables)s::text[]) name
    UNION SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
), related (oid) AS (
    SELECT oid FROM below UNION SELECT i.inhparent FROM related r JOIN pg_inherits i ON i.inhrelid = r.oid
), reached (oid, steps) AS (
    SELECT oid, 0 FROM related
    UNION SELECT w.ev_class, r.steps + 1 FROM reached r JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass
        AND d.refobjid = r.oid AND d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite w ON w.oid = d.objid
        WHERE w.ev_class <> r.oid AND w.ev_type = '1'
)
SELECT SAID, c.relname, format('%%I.%%I', n.nspname, c.relname), c.relispopulated FROM reached r
JOIN pg_class c ON c.oid = r.oid AND c.relkind = 'm' JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY c.oid, n.nspname, c.relname, c.relispopulated ORDER BY max(r.steps), n.nspname, c.relname
""".replace("SAID", said("n.nspname"))


@dataclass(frozen=True, slots=True)
class MaterializedView:
    """One of them; `name` is quoted where it must be, and has its schema."""

    schema: str
    relation: str
    name: str
    populated: bool

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted name as statements at either end say it."""
        return sql.Identifier(self.schema, self.relation)


def stale_view(name: str, why: str) -> Unusable:
    """A materialized view, by its quoted name, that is to be refreshed."""
    return Unusable(f"materialized view {name}", why, f"REFRESH MATERIALIZED VIEW {name}")


async def dependent_views(connection: AsyncConnection, tables: Sequence[CopyTable | Table]) -> list[MaterializedView]:
    """Those made of these tables, in an order to refresh them in."""
    places = [identifier_of(table) if isinstance(table, Table) else table.identifier for table in tables]
    names = [named(connection, place) for place in places]
    return await fetch_each(connection, MaterializedView, _DEPENDENTS, {"tables": names})


async def refresh(
    connection: AsyncConnection, tables: Sequence[CopyTable], progress: Progress, *, stale: bool
) -> list[Unusable]:
    """Fill those that were never filled, and with `stale` the others too; returns those that could not be."""
    left = []
    for view in await dependent_views(connection, tables):
        if view.populated and not stale:
            continue
        progress.notice(f"refreshing materialized view {view.name}")
        try:
            await connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW " + view.name))
        except psycopg.Error as error:
            if error.sqlstate is None or connection.closed or connection.broken:
                raise
            right = missing_right(error)
            said = error_for_sqlstate(error.sqlstate, detail=f" ({right})" if right else "")
            state = "it holds rows from before" if view.populated else "it was never filled"
            left.append(stale_view(view.name, f"{state}, and refreshing it failed: {said}"))
    return left


async def never_filled(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Unusable]:
    """Those that were never filled, so that whatever reads them fails."""
    views = await dependent_views(connection, tables)
    return [stale_view(one.name, "it was never filled, so that reading it fails") for one in views if not one.populated]


async def stale_views(connection: AsyncConnection, tables: Sequence[CopyTable]) -> list[Unusable]:
    """All of them, after rows that they are made of were changed."""
    return [
        stale_view(one.name, "rows that it is made of have changed" if one.populated else "it was never filled")
        for one in await dependent_views(connection, tables)
    ]

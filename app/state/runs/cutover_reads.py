"""What the commands that move rows ask of the cutover's tables: where it stands, and whose rows are the newer ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows
from app.state.schema_name import SCHEMA


async def read_stage(connection: AsyncConnection, *, share: bool) -> tuple[str, datetime | None]:
    """The stage, and when a command last moved it; None: none has.

    Args:
        share: no move ends until the transaction does.
    """
    ((stage, moved_at),) = await fetch_rows(
        connection, f"SELECT stage, moved_at FROM {SCHEMA}.stage{' FOR SHARE' if share else ''}"
    )
    return stage, moved_at


async def read_tables_and_processes(connection: AsyncConnection) -> tuple[Any, ...]:
    """The tables whose own authority is PostgreSQL, when one last moved, the bot's processes and their stages."""
    (row,) = await fetch_rows(
        connection,
        f"SELECT ARRAY(SELECT table_name FROM {SCHEMA}.table_authority WHERE authority = 'postgres' ORDER BY 1), "
        f"(SELECT max(changed_at) FROM {SCHEMA}.table_authority), "
        f"ARRAY(SELECT name FROM {SCHEMA}.processes ORDER BY name), "
        f"ARRAY(SELECT stage FROM {SCHEMA}.processes ORDER BY name)",
    )
    return row

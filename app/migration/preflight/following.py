"""What comes next where nothing is in the way: a target may hold the rows already, or be the store that is written."""

from collections.abc import Sequence

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.cutover.stages import Stage
from app.migration.load.table_authority import read_authority
from app.migration.tables.copy_table import name_of
from app.next_step import Command, NextStep
from app.state.runs.runs import has_brought_whole
from app.state.tool_schema import may_read


async def next_at(connection: AsyncConnection, source: str, tables: Sequence[Table]) -> NextStep:
    """The next step at a target whose tables can take the rows.

    Args:
        source: its label.
    """
    if not await may_read(connection, "row_versions"):
        return NextStep(Command("copy"))
    authority = await read_authority(connection)
    if authority.managed and authority.stage is not Stage.OFF:
        return NextStep(Command("cutover status"))
    copied = [await has_brought_whole(connection, source, name_of(table)) for table in tables]
    return NextStep(Command("verify" if copied and all(copied) else "copy"))

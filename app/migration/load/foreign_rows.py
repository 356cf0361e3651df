"""Rows of the target that this source did not bring: nobody's, another source's, or those of another address of it."""

from psycopg import AsyncConnection

from app.errors import MigrationError
from app.migration.tables.copy_table import CopyTable
from app.next_step import Command, NextStep
from app.state.runs import writes


async def refuse_foreign_rows(
    connection: AsyncConnection, source: str, tables: list[CopyTable], *, step: str = "copy"
) -> None:
    """Stop where a table holds rows, or versions of rows, that no copy from this source wrote, as their xmin tells.

    Args:
        source: its label, which is its address for people: one database may have several.

    Raises:
        MigrationError: names the tables and their counts, and where rows came from another source.
    """
    held = []
    others: dict[str, int] = {}
    foreign = 0
    for table in tables:
        if count := await writes.count_foreign_rows(connection, source, table.all_names, table.rows):
            held.append(f"{table.name} ({count})")
            foreign += count
            for label, rows in (await writes.rows_by_others(connection, source, table.all_names, table.rows)).items():
                others[label] = others.get(label, 0) + rows
    if not held:
        return
    message = f"the target holds rows that no copy from {source} wrote: {', '.join(held)}"
    remedy = NextStep(Command(step, "--overwrite"), ", if the source's rows may replace them")
    if others:
        came = "; ".join(f"{rows:,} from {label}" for label, rows in others.items())
        if list(others.values()) == [foreign]:
            came = f"all of them from {next(iter(others))}"
        message += f". These came by another address: {came}. It may be the same database"
        known = sum(others.values()) >= foreign
        lost = (
            "its rows replace their own copies, so nothing is lost" if known else "its rows replace those of the target"
        )
        remedy = NextStep(
            "if it is the same one, ",
            Command(step, "--overwrite"),
            f" ({lost}), or ",
            Command(step),
            " by the address of before; if it is another one, a target of its own",
        )
    raise MigrationError(message, step=step, pending="everything; nothing was written", next_step=remedy)

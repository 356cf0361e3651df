"""Counts the rows of a source's tables over REST, where a count may take longer than the API lets it."""

from collections.abc import Callable
from typing import TypeVar

from app.errors import CountTimeoutError, UnavailableError
from app.migration.retry import Patiently
from app.migration.sources.rest.heirs import Heirs
from app.migration.sources.rest.lateness import Lateness
from app.migration.sources.source import records_of
from app.migration.tables.copy_table import CopyTable
from app.stores.supabase.answers import refuse_other_count, rows_told, total_told
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.grammar import quoted_name
from app.stores.supabase.request_parameters import selected

_Answer = TypeVar("_Answer")


class RowCounter:
    """Counts exactly, and does not ask twice where that took too long.

    Args:
        tell: called with a sentence where a table cannot be counted.
    """

    def __init__(self, rest: SupabaseRest, patiently: Patiently, heirs: Heirs, tell: Callable[[str], None]) -> None:
        self._rest = rest
        self._heirs = heirs
        self._patiently = patiently
        self._tell = tell
        self._given_up: set[str] = set()

    def gave_up(self, table: CopyTable) -> bool:
        """Whether a count of the table took too long before."""
        return table.name in self._given_up

    async def count(self, table: CopyTable) -> int:
        """Exact number of rows, from the Content-Range of a page of one row.

        Raises:
            CountTimeoutError: it took too long, now or before.
        """
        lateness = Lateness(table.name)

        async def ask() -> int:
            with lateness.told():
                total, rows = await self._ask(table, "exact")
            if total is None or (total == 0) != (rows == 0):
                raise UnavailableError("Supabase gave no exact count")
            return total

        if self.gave_up(table):
            raise CountTimeoutError(f"counting {table.name} took too long before")
        try:
            return await self._patiently(ask)
        except CountTimeoutError:
            self._given_up.add(table.name)
            self._tell(
                f"{table.name}: the exact count took longer than the API lets it; the keys are listed instead, which "
                "takes longer. Better: --source postgresql://..., where nothing is cut off"
            )
            raise

    async def estimate(self, table: CopyTable) -> int | None:
        """About how many rows there are, as PostgreSQL's planner thinks; None where the server does not say."""
        return (await self._patiently(lambda: self._ask(table, "planned")))[0]

    async def _ask(self, table: CopyTable, kind: str) -> tuple[int | None, int]:
        request = self._rest.table(table.relation_name, table.schema)
        await self._heirs.learn(table)
        builder = self._heirs.leave_out(selected(request, quoted_name(table.key[0].name)), table).limit(1)
        response = await self._rest.respond(builder, headers={"Prefer": f"count={kind}"})
        rows = len(records_of(response.content))
        refuse_other_count(rows, rows_told(response.headers))
        return total_told(response.headers), rows

"""Rows of tables that inherit, over REST: a parent's answer shows its heirs' rows too, which other tables hold.

PostgREST knows no ONLY. Each row has the number of the table that holds it (`tableoid`), by which the heirs' are left
out.
"""

from typing import Any

from app.errors import SchemaMismatchError
from app.migration.retry import Patiently
from app.migration.tables.copy_table import CopyTable, Heir
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.request_parameters import selected

_MISSING = {"42P01", "PGRST205", "PGRST106"}


class Heirs:
    """Knows, of each table, which tables' rows are not its own."""

    def __init__(self, rest: SupabaseRest, patiently: Patiently) -> None:
        self._rest = rest
        self._patiently = patiently
        self._numbers: dict[str, list[str]] = {}  # by parent
        self._own: dict[Heir, str] = {}

    async def learn(self, table: CopyTable) -> None:
        """Ask the source for the numbers of the tables that inherit from this one; one without rows tells none."""
        numbers = self._numbers.setdefault(table.name, [])
        for heir in table.heirs:
            if not heir.last:
                while (number := await self._another(heir, numbers)) is not None:
                    numbers.append(number)
                continue
            if heir not in self._own and (number := await self._another(heir, [])) is not None:
                self._own[heir] = number
            if heir in self._own and self._own[heir] not in numbers:
                numbers.append(self._own[heir])

    def leave_out(self, builder: Any, table: CopyTable) -> Any:
        """Ask for the table's own rows."""
        for number in self._numbers.get(table.name, ()):
            builder.neq("tableoid", number)
        return builder

    async def _another(self, heir: Heir, known: list[str]) -> str | None:
        builder = selected(self._rest.table(heir.name, heir.schema), "_0:tableoid::text").limit(1)
        for number in known:
            builder.neq("tableoid", number)
        try:
            rows = await self._patiently(lambda: self._rest.rows(builder))
        except SchemaMismatchError as error:
            if error.sqlstate in _MISSING:
                return None
            raise
        return str(rows[0]["_0"]) if rows else None

"""`verify --fix`: the rows that differ are copied again, as a run of its own."""

from collections.abc import Sequence

from psycopg import AsyncConnection

from app.common.keys import Key
from app.migration.load.loader import PageLoader
from app.migration.load.mirrored_meanwhile import UnlockedReading, this_moment
from app.migration.load.table_authority import Permit
from app.migration.sources.source import Page, Source
from app.migration.tables.copy_table import CopyTable
from app.state.runs import quarantine


class Fixer:
    """Loads rows of one table again; rows that the target refuses are in quarantine afterwards.

    Args:
        connection: to the target, in autocommit, with the run lock.
        run: the run's id.
        permit: asked before rows are written.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: Source,
        table: CopyTable,
        run: int,
        permit: Permit,
        *,
        most_refused: int,
    ) -> None:
        self._connection = connection
        self._source = source
        self._table = table
        self._run = run
        self._loader = PageLoader(connection, table, run, step=permit.step, most_refused=most_refused)
        self._reading = UnlockedReading(
            connection,
            permit,
            table,
            read=lambda keys: source.rows_by_key(table, keys),
            load=self._load,
            pace=source.pace,
        )

    async def fix(self, keys: Sequence[Key]) -> None:
        """Load rows as the source has them now; what earlier runs refused of these keys leaves the quarantine."""
        moment = await this_moment(self._connection, self._table)
        for page in [page async for page in self._source.rows_by_key(self._table, keys)]:
            await self._reading.bring(page, moment)
        await quarantine.leave_to_run(self._connection, self._run, self._table.name, keys)

    async def _load(self, page: Page) -> None:
        await self._loader.load(page, checkpoint=False)

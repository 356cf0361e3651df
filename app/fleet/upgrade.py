"""`botdata fleet upgrade`: each salon's schema to the newest revision, and the tool's own schema to its version."""

import asyncio

from psycopg import AsyncConnection

from app.errors import INSTALL_NEWER, MigrationError
from app.fleet.chosen_salons import Chosen, address_of
from app.fleet.each_salon import SALONS_OF_A_SESSION
from app.fleet.outcome import Outcome, SalonResult, away
from app.next_step import Command, NextStep
from app.schema import revisions
from app.state.fleet.salons import Salon, Standing, read_standing
from app.state.tool_schema import ensure_tool_schema, newest_version

STEP = "fleet upgrade"


class Upgrades:
    """The work on each of them.

    Alembic keeps what it is at in its module, so that one upgrade runs at a time in a process. The other salons' looks,
    and their schemas of the tool, go on meanwhile.
    """

    def __init__(self, url: str, chosen: Chosen, *, dry_run: bool) -> None:
        self._url = url
        self._chosen = chosen
        self._dry_run = dry_run
        self._head = revisions.head()
        self._engine = revisions.open_engine(url)
        self._alembic = asyncio.Lock()
        self._upgraded = 0

    def close(self) -> None:
        """Close Alembic's connection."""
        self._engine.dispose()

    async def upgrade(self, connection: AsyncConnection, salon: Salon) -> Outcome:
        """One salon. What is at the head already, or has moved out, is told by one query.

        Raises:
            MigrationError: a revision or the server refuses it; the schema is as it was.
        """
        if salon.name in self._chosen.filled:
            raise MigrationError(
                "the schema is there, and what it holds is no salon",
                step="upgrade",
                pending="the schema is as it was",
                next_step=NextStep(Command("upgrade"), ", if it is meant all the same"),
            )
        before = await read_standing(connection, salon)
        if (gone := away(salon.name, before)) is not None:
            return gone
        if before.tool_version > newest_version():
            raise MigrationError(
                "a newer botdata has made the tool's own schema",
                step="upgrade",
                pending="the schema is as it was",
                next_step=NextStep(INSTALL_NEWER),
            )
        if before.revision == self._head and before.tool_version == newest_version():
            return Outcome(salon.name, SalonResult.AT_HEAD, before)
        is_new = salon.name in self._chosen.new
        reason = None if is_new else self._due(before)
        if self._dry_run:
            result = SalonResult.WOULD_CREATE if is_new else SalonResult.WOULD_UPGRADE
            return Outcome(salon.name, result, before, reason, NextStep(Command(STEP)))
        if before.revision != self._head:
            async with self._alembic:
                self._upgraded += 1
                if self._upgraded % SALONS_OF_A_SESSION == 0:
                    self._engine.dispose()
                done = await asyncio.to_thread(revisions.upgrade_with, self._engine, address_of(self._url, salon.name))
            warnings = [notice.text for notice in done.notices if notice.warning]
            reason = "; ".join([*([reason] if reason else []), *warnings]) or None
        await ensure_tool_schema(connection)
        after = await read_standing(connection, Salon(salon.name, True, True, True))
        return Outcome(salon.name, SalonResult.CREATED if is_new else SalonResult.UPGRADED, after, reason)

    def _due(self, before: Standing) -> str:
        due = []
        if before.revision != self._head:
            due.append(f"from {before.revision or 'no revision'}")
        if before.tool_version != newest_version():
            of = f"version {before.tool_version}" if before.tool_version else "nothing"
            due.append(f"the tool's own schema from {of} to version {newest_version()}")
        return "; ".join(due)

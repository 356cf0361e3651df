"""Whose rows are the newer ones: which tables may be written from the other store, and for how long.

A table that the data layer's methods write belongs to the stage's authority; any other one to its own, in
`botdata.table_authority`. Where no command has moved the stage, the setting of the command's own environment says so.
"""

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import AsyncConnection

from app.common.schemas import schemas_of
from app.cutover.locks import HOLD_TABLE
from app.cutover.stages import Stage, Store
from app.cutover.tables import METHODS_TABLES
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.state.cutover.stage import read_stage_row, where_it_lives
from app.state.cutover.table_authority import read_tables_and_processes
from app.state.tool_schema import OlderSchemaError, may_read


class TableMovedError(MigrationError):
    """The authority of a table moved while its rows were read; nothing of them was written."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Where the cutover stands, as far as it says which store a table belongs to.

    Attributes:
        managed: a command has moved the stage.
        moved: when the stage, and when a table of its own authority last moved.
        postgres: tables whose own authority is PostgreSQL.
        processes: the bot's, with the stage that each reports.
        moved_out: why nothing is to be written to any table, in words, and where to write; None: the salon lives here.
    """

    managed: bool = False
    stage: Stage = Stage.OFF
    moved: tuple[datetime | None, datetime | None] = (None, None)
    postgres: frozenset[str] = frozenset()
    processes: tuple[tuple[str, Stage], ...] = ()
    moved_out: tuple[str, NextStep] | None = None

    def claim(self, table: str, store: Store) -> str | None:
        """Why a store's rows of a table are, or may be, the newer ones, in words; None: they are not."""
        if table not in METHODS_TABLES:
            own = Store.POSTGRES if table in self.postgres else Store.SUPABASE
            return f"its own authority is {own.label}" if self.managed and own is store else None
        if self.managed and self.stage.authority is store:
            return f"the cutover stands at {self.stage}"
        return self._reported(lambda stage: stage.authority is store)

    def mirrored(self, table: str) -> str | None:
        """Why processes of the bot may be mirroring to a table at this moment, in words; None: they are not."""
        if table not in METHODS_TABLES:
            return None
        if self.managed and self.stage.mirrors:
            return f"the cutover stands at {self.stage}"
        return self._reported(lambda stage: stage.mirrors)

    def _reported(self, wanted: Callable[[Stage], bool]) -> str | None:
        return next((f"process {name} reports {stage}" for name, stage in self.processes if wanted(stage)), None)


async def read_authority(connection: AsyncConnection, *, share: bool = False) -> Authority:
    """Where the cutover stands; of a target without the tool's tables, that nothing was moved.

    Args:
        share: no move ends until the transaction does.

    Raises:
        OlderSchemaError: the tool's tables are not as this version reads them.
    """
    if not await may_read(connection, "table_authority"):
        return Authority()
    try:
        row = await read_stage_row(connection, lock="FOR SHARE" if share else "")
    except psycopg.errors.UndefinedColumn:
        raise OlderSchemaError from None
    gone = (row.moved_out, where_it_lives(schemas_of(connection))) if row.moved_out else None
    postgres, changed_at, names, stages = await read_tables_and_processes(connection)
    return Authority(
        managed=row.managed,
        stage=row.stage,
        moved=(row.moved_at, changed_at),
        postgres=frozenset(postgres),
        processes=tuple(zip(names, map(Stage, stages), strict=True)),
        moved_out=gone,
    )


@dataclass(frozen=True, slots=True)
class Permit:
    """Under what conditions a command writes rows of one store into the other.

    Attributes:
        step: the command, without --reverse.
        would: what it would do to newer rows, in words.
        into: the store that is written to.
        in_use: the command's environment says that the bot writes to that store.
        overwrite: go on all the same, where no command has moved the stage.
        instead: the name of a command that can be given at any time.
        copying: rows are read long before they are written, so that no process may be mirroring meanwhile.
    """

    step: str
    would: str
    into: Store = Store.POSTGRES
    in_use: bool = False
    overwrite: bool = False
    instead: str = ""
    copying: bool = False

    def _again(self, *options: str) -> Command:
        return Command(self.step, " ".join((*["--reverse"] * (self.into is Store.SUPABASE), *options)))

    def refusal(self, authority: Authority, table: str) -> str | None:
        """Why the table may not be written, in words; None: it may be."""
        if authority.moved_out is not None:
            return authority.moved_out[0]
        if not authority.managed and self.overwrite:
            return None
        why = authority.claim(table, self.into)
        if why is None and self.copying:
            why = authority.mirrored(table)
        return why

    def refuse(self, authority: Authority, tables: Iterable[str]) -> None:
        """Stop before anything is written.

        Raises:
            MigrationError: the store that would be written to has, or may have, the newer rows of a table.
        """
        self.refuse_moved_out(authority)
        if self._by_setting(authority):
            remedy = NextStep(*self._instead, self._again("--overwrite"), ", if that is meant")
            raise self._error(_BY_SETTING[self.into], remedy)
        names = list(tables)
        if refused := self.refusals(authority, names):
            rest = [name for name in names if name not in refused]
            is_store = any(authority.claim(name, self.into) for name in refused)
            why = "is the store of" if is_store else "gets from the bot what it writes of"
            raise self._error(f"{self.into.label} {why} {in_words(refused)}", self._remedy(authority, rest))

    def refuse_moved_out(self, authority: Authority) -> None:
        """Stop where the salon has moved to another server; a MigrationError."""
        if authority.moved_out is not None:
            why, instead = authority.moved_out
            raise MigrationError(why, step=self.step, pending="everything; nothing was written", next_step=instead)

    def closed(self, authority: Authority, tables: Iterable[str]) -> frozenset[str]:
        """The tables that `refuse` would stop for."""
        return frozenset(tables if self._by_setting(authority) else self.refusals(authority, tables))

    def refusals(self, authority: Authority, tables: Iterable[str]) -> dict[str, str]:
        """The tables that may not be written, and why."""
        return {name: why for name in tables if (why := self.refusal(authority, name)) is not None}

    async def confirm(self, connection: AsyncConnection, table: str, seen: Authority | None = None) -> Authority:
        """In a transaction that writes rows of a table: it may be written, until the transaction ends.

        Args:
            seen: what stood before the rows were read.

        Raises:
            TableMovedError: not any more, or it had moved and is back.
        """
        authority = await read_authority(connection, share=True)
        why = self.refusal(authority, table)
        if why is None and seen is not None and seen.moved != authority.moved:
            why = "the cutover was moved meanwhile"
        if why is not None:
            raise TableMovedError(
                f"{table} may not be written any more: {why}; {self.would}",
                step=self.step,
                table=table,
                pending="what was not written yet",
                next_step=NextStep(Command("cutover status"), "; then: ", self._again()),
            )
        return authority

    @asynccontextmanager
    async def held(
        self, connection: AsyncConnection, table: str, seen: Authority | None = None
    ) -> AsyncIterator[Callable[[], Awaitable[Authority]]]:
        """A transaction that has the table to itself: what is read inside of it is not older than any mirror.

        Args:
            seen: what stood before rows were read outside of it.

        Yields:
            To be called when all is read, before the first write: see `confirm`.
        """
        async with connection.transaction():
            await connection.execute(HOLD_TABLE, {"table": table})
            before = await read_authority(connection) if seen is None else seen
            yield lambda: self.confirm(connection, table, before)

    def _by_setting(self, authority: Authority) -> bool:
        return not authority.managed and self.in_use and not self.overwrite

    @property
    def _instead(self) -> list[str | Command]:
        return [Command(self.instead), "; or "] if self.instead else []

    def _error(self, message: str, remedy: NextStep) -> MigrationError:
        return MigrationError(
            f"{message}; {self.would}", step=self.step, pending="everything; nothing was written", next_step=remedy
        )

    def _remedy(self, authority: Authority, rest: Sequence[str]) -> NextStep:
        status = Command("cutover status")
        if not authority.managed:
            return NextStep(status, "; or: ", self._again("--overwrite"), ", if that is meant")
        remedy = [*self._instead, status, ", which shows where each table stands"]
        if self.copying:
            remedy += ["; for those whose store is Supabase: ", Command("sync")]
        if rest:
            remedy.append(f"; for the others: the same command, with --tables {shlex.quote(','.join(rest))}")
        return NextStep(*remedy)


_BY_SETTING = {
    Store.POSTGRES: "USE_REPOSITORY_PATTERN says that PostgreSQL is the bot's store already",
    Store.SUPABASE: "USE_REPOSITORY_PATTERN does not say that PostgreSQL is the bot's store",
}


def in_words(refused: dict[str, str]) -> str:
    """Tables with the reasons, those of one reason together."""
    reasons = dict.fromkeys(refused.values())
    return "; ".join(
        f"{', '.join(name for name, why in refused.items() if why == reason)} ({reason})" for reason in reasons
    )

"""What a change stream has made at the source and how far it is; and its removal from both ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection

from app.errors import MigrationError, StoreError
from app.migration.sources.postgres.postgres_source import PostgresSource, open_postgres_source
from app.migration.sources.source import Source
from app.migration.stream.source.publication import Publication
from app.migration.stream.source.slot import StreamSlot, parse_lsn, stream_name, target_identity
from app.migration.sync.syncer import OpenSource
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.state import streams
from app.state.runs import quarantine
from app.state.tool_schema import may_read


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A stream as both ends show it.

    Attributes:
        name: of its slot and of its publication.
        slot: there is one at the source.
        publication: the same.
        lost: why the slot gives no changes any more; None: it does, or there is none.
        held_bytes: of the source's log that it keeps for the slot; None where it is not known.
        oldest_transaction: at the source, which may be why; in words, None where none is open.
        known: how far the target is; None: no stream was begun.
        behind_bytes: of the source's log that is not applied yet.
        set_aside: rows in quarantine.
        back: the streams back to a source, as far as the target knows them.
    """

    name: str
    slot: bool
    publication: bool
    lost: str | None
    held_bytes: int | None
    oldest_transaction: str | None
    known: streams.Stream | None
    behind_bytes: int | None
    set_aside: int
    back: Sequence[streams.Stream] = ()

    @property
    def is_well(self) -> bool:
        """Whether the stream can go on with nothing missing; also where there is none at all."""
        if self.known is None:
            return not (self.slot or self.publication)
        return self.slot and self.lost is None and self.known.settled_lsn is not None


async def stream_status(open_source: OpenSource, target_url: str) -> StreamStatus:
    """Look at both ends; writes nothing.

    Raises:
        MigrationError: one cannot be reached.
    """
    async with open_target(target_url, step="stream status") as connection, open_source() as source:
        with explained("stream status", setting=source.setting, pending="the look"):
            slot, publication = await _ends(source, connection)
            look = await slot.look()
            known, set_aside, back = None, 0, list[streams.Stream]()
            if await may_read(connection, "streams"):
                known = next(iter(await streams.read_streams(connection, slot.name)), None)
                back = await streams.read_streams(connection, reverse=True)
                set_aside = await quarantine.count_rows(connection)
            flushed = await slot.flushed()
            return StreamStatus(
                name=slot.name,
                slot=look is not None,
                publication=await publication.exists(),
                lost=look.lost if look else None,
                held_bytes=look.held if look else None,
                oldest_transaction=await slot.oldest_transaction() if look else None,
                known=known,
                behind_bytes=max(0, flushed - parse_lsn(known.lsn)) if known else None,
                set_aside=set_aside,
                back=back,
            )


async def drop_stream(open_source: OpenSource, target_url: str) -> tuple[str, list[str]]:
    """Remove the slot and the publication from the source, and from the target what it knew of the stream.

    Returns:
        Its name, and what was removed, in words.

    Raises:
        MigrationError: a sync is at work, a session is reading the slot, or an end cannot be reached.
    """
    removed = []
    async with open_target(target_url, step="stream drop", exclusive=True) as connection, open_source() as source:
        with explained("stream drop", setting=source.setting, pending="what was not removed yet"):
            slot, publication = await _ends(source, connection)
            if (look := await slot.look()) is not None:
                if look.active:
                    raise StoreError(f"a session at the source is reading the slot {slot.name} still")
                await slot.drop()
                removed.append("the replication slot")
            if await publication.exists():
                await publication.drop()
                removed.append("the publication")
            if await may_read(connection, "streams") and await streams.read_streams(connection, slot.name):
                await streams.forget_stream(connection, slot.name)
                removed.append("the stream's place in the target")
            removed += await _drop_back(connection, target_url)
    return slot.name, removed


async def _drop_back(connection: AsyncConnection, target_url: str) -> list[str]:
    """The same for streams back to a source, whose slots are at the target."""
    if not await may_read(connection, "streams"):
        return []
    removed = []
    for known in await streams.read_streams(connection, reverse=True):
        async with open_postgres_source(target_url, step="stream drop", setting="DATABASE_URL") as log:
            slot = StreamSlot(log, None, known.name)
            if (look := await slot.look()) is not None and look.active:
                raise StoreError(f"a session at the target is reading the slot {slot.name} still")
            await slot.drop()
            await Publication(log, known.name).drop()
        await streams.forget_stream(connection, known.name)
        removed.append(f"slot and publication {known.name} at the target, of the way back")
    return removed


async def _ends(source: Source, connection: AsyncConnection) -> tuple[StreamSlot, Publication]:
    if not isinstance(source, PostgresSource):
        raise MigrationError(
            "a change stream needs a connection to the source's PostgreSQL",
            step="stream",
            pending="everything",
            next_step=NextStep(Command("stream status", "--source postgresql://...")),
        )
    name = stream_name(await target_identity(connection))
    return StreamSlot(source, None, name), Publication(source, name)

"""What a change stream has made at the source, and how far it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection

from app.errors import MigrationError
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
        lost_back: why some of these give no changes any more, by their names.
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
    lost_back: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether the stream can go on with nothing missing; also where there is none at all."""
        if self.lost_back:
            return False
        if self.known is None:
            return not (self.slot or self.publication)
        return self.slot and self.lost is None and self.known.settled_lsn is not None


async def known_streams(connection: AsyncConnection) -> list[streams.Stream]:
    """The streams that the target knows, those back to a source too; none where no run has begun there."""
    return await streams.read_streams(connection, reverse=None) if await may_read(connection, "streams") else []


async def stream_status(open_source: OpenSource, target_url: str) -> StreamStatus:
    """Look at both ends; writes nothing.

    Raises:
        MigrationError: one cannot be reached.
    """
    async with open_target(target_url, step="stream status") as connection, open_source() as source:
        with explained("stream status", setting=source.setting, pending="the look"):
            slot, publication = await ends_at(source, connection)
            look = await slot.look()
            of_target = await known_streams(connection)
            known = next((one for one in of_target if one.name == slot.name), None)
            back = [one for one in of_target if one.reverse]
            set_aside = await quarantine.count_rows(connection) if await may_read(connection, "quarantine") else 0
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
                lost_back=await _lost_back(back, target_url),
            )


async def _lost_back(back: Sequence[streams.Stream], target_url: str) -> dict[str, str]:
    """Why streams back to a source give no changes any more, by their names; those that do are left out."""
    lost = {}
    if back:
        with explained("stream status", setting="DATABASE_URL", pending="the look"):
            async with open_postgres_source(target_url, step="stream status", setting="DATABASE_URL") as log:
                for known in back:
                    look = await StreamSlot(log, None, known.name).look()
                    if look is None or look.lost:
                        lost[known.name] = "the slot is gone" if look is None else f"the slot is lost ({look.lost})"
    return lost


async def ends_at(source: Source, connection: AsyncConnection) -> tuple[StreamSlot, Publication]:
    """The slot and the publication that a target's stream has at a source, whether they are there or not.

    Raises:
        MigrationError: the source is reached over REST.
    """
    if not isinstance(source, PostgresSource):
        raise MigrationError(
            "a change stream needs a connection to the source's PostgreSQL",
            step="stream",
            pending="everything",
            next_step=NextStep(Command("stream status", "--source postgresql://...")),
        )
    name = stream_name(await target_identity(connection))
    return StreamSlot(source, None, name), Publication(source, name)

"""What a change stream has made at both ends is removed: its slot, its publication, its place in the target."""

from collections.abc import Sequence
from contextlib import suppress

from psycopg import AsyncConnection

from app.errors import AccessDeniedError, MigrationError, StoreError
from app.migration.sources.postgres.postgres_source import open_postgres_source
from app.migration.sources.source import Source
from app.migration.stream.source.publication import Publication
from app.migration.stream.source.slot import StreamSlot, stream_name, target_identity
from app.migration.stream.status import ends_at, known_streams
from app.migration.sync.syncer import OpenSource
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.state import streams

_DROP = "stream drop"


async def leave_nothing(connection: AsyncConnection, slot: StreamSlot, publication: Publication) -> None:
    """Leave nothing at the source that nobody reads: its log would grow for the slot."""
    await slot.drop()
    with suppress(AccessDeniedError):  # where its owner is another: without a slot it costs nothing
        await publication.drop()
    await streams.forget_stream(connection, slot.name)


async def drop_stream(open_source: OpenSource | None, target_url: str) -> tuple[str, list[str]]:
    """Remove slots and publications, those of ways back first, and from the target what it knew of the streams.

    Args:
        open_source: None: only what is at the target.

    Returns:
        The name of the slot at the source, and what was removed, in words.

    Raises:
        MigrationError: a sync is at work, a session is reading a slot, or an end cannot be reached; or without a
            source, that there is something. Says what was removed nevertheless.
    """
    removed: list[str] = []
    async with open_target(target_url, step=_DROP, exclusive=True) as connection:
        name = stream_name(await target_identity(connection))
        known = await known_streams(connection)
        is_known = any(one.name == name for one in known)
        try:
            removed += await _drop_back(connection, target_url, [one for one in known if one.reverse])
            if open_source is not None:
                async with open_source() as source:
                    removed += await _drop_at(source, connection, is_known=is_known)
            elif is_known:
                raise MigrationError(
                    f"the slot {name} is at a source, and none was named",
                    step=_DROP,
                    pending="the slot and the publication at the source",
                    next_step=NextStep(Command(_DROP, "--source postgresql://...")),
                )
        except MigrationError as error:
            error.done = "; ".join(removed) or error.done
            raise
    return name, removed


async def _drop_at(source: Source, connection: AsyncConnection, *, is_known: bool) -> list[str]:
    with explained(_DROP, setting=source.setting, pending="what was not removed yet"):
        slot, publication = await ends_at(source, connection)
        removed = await _drop_both(slot, publication, "source")
        if is_known:
            await streams.forget_stream(connection, slot.name)
            removed.append("the stream's place in the target")
    return removed


async def _drop_back(connection: AsyncConnection, target_url: str, known: Sequence[streams.Stream]) -> list[str]:
    """The same for streams back to a source, whose slots are at the target."""
    removed = []
    for one in known:
        with explained(_DROP, setting="DATABASE_URL", pending="what was not removed yet"):
            async with open_postgres_source(target_url, step=_DROP, setting="DATABASE_URL") as log:
                await _drop_both(StreamSlot(log, None, one.name), Publication(log, one.name), "target")
            await streams.forget_stream(connection, one.name)
        removed.append(f"slot and publication {one.name} at the target, of the way back")
    return removed


async def _drop_both(slot: StreamSlot, publication: Publication, end: str) -> list[str]:
    """Drop them where they are there; what was, in words.

    Raises:
        StoreError: a session is reading the slot, or the end failed.
    """
    removed = []
    if (look := await slot.look()) is not None:
        if look.active:
            raise StoreError(f"a session at the {end} is reading the slot {slot.name} still")
        await slot.drop()
        removed.append("the replication slot")
    if await publication.exists():
        await publication.drop()
        removed.append("the publication")
    return removed

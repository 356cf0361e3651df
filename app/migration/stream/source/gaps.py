"""The start of a stream: whether changes may be missing since the last one, and a slot that has all from now on."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

from psycopg import AsyncConnection

from app.migration.stream.source.messages import Begin
from app.migration.stream.source.slot import StreamSlot, lsn_text, parse_lsn
from app.migration.stream.source.table_fingerprints import changed_tables, other_files, other_identities
from app.state import streams
from app.state.runs import row_versions

_PATIENCE = 10.0  # seconds for a slot to be made, before it is told what it waits for


async def close_gap(
    connection: AsyncConnection,
    slot: StreamSlot,
    known: streams.Stream | None,
    *,
    source: str,
    server: str,
    publication: str,
    prints: Mapping[str, str],
    reshaped: Sequence[str],
    tell: Callable[[str], None],
    reverse: bool = False,
) -> str | None:
    """Why changes may be missing, in words; None: none is.

    Where they may be, the slot gives all changes from now on when this returns, and a sync by xmin is to follow.

    Args:
        known: the stream as the target knows it.
        source: its label.
        server: what tells the source's server and timeline from others.
        publication: its fingerprint.
        prints: of the tables to be followed.
        reshaped: those of whose rows the versions tell nothing any more, such as one whose target got a column.
        tell: called with a sentence where something takes long.
        reverse: the log is the target's, for the way back.
    """
    look = await slot.look()
    changed = changed_tables(known.tables, prints) if known else []
    anew, lsn, end = True, 0, "target" if reverse else "source"
    if known is None:
        why = "it is the first start"
    elif known.server != server:
        why = f"the {end} is another server, or has another timeline; run botdata verify when this is done"
        await row_versions.forget_all(connection)
    elif look is None or look.lost:
        why = f"the slot is {'gone' if look is None else f'lost ({look.lost})'}"
    elif changed:
        why = f"{', '.join(changed)} changed at the {end}"
        for table in changed:
            await row_versions.forget_all(connection, table)
    elif known.publication != publication:
        why = "the publication was altered"
    elif others := other_identities(known.tables, prints):
        why = f"the replica identity of {', '.join(others)} changed at the {end}"
    elif look.confirmed is not None and look.confirmed > parse_lsn(known.lsn):
        why, anew, lsn = "the slot is ahead of the target", False, look.confirmed
    elif look.confirmed is not None and not await _goes_on(slot, look.confirmed, known):
        why = f"the {end}'s log is not that of before"
    elif known.settled_lsn is None or not set(prints) <= set(known.tables):
        why, anew, lsn = "not all tables were brought up to date", False, parse_lsn(known.lsn)
    elif emptied := other_files(known.tables, prints):
        why, anew, lsn = f"partitions of {', '.join(emptied)} may have been emptied", False, parse_lsn(known.lsn)
    elif reshaped:
        why, anew, lsn = f"{', '.join(reshaped)} changed at one end", False, parse_lsn(known.lsn)
    else:
        return None
    if anew:
        await slot.drop()
        lsn = await _created(slot, tell, end)
    await streams.begin_stream(
        connection,
        name=slot.name,
        source=source,
        server=server,
        publication=publication,
        tables=prints,
        lsn=lsn_text(lsn),
        reverse=reverse,
    )
    return why


async def _goes_on(slot: StreamSlot, confirmed: int, known: streams.Stream) -> bool:
    """Whether the source's log is the one that the target has applied a part of.

    After a crash of the source its slot gives again what was applied. So it does where the source was restored from a
    copy of its files, and has written another log since: then the last transaction that was applied is not in it.
    """
    lsn = parse_lsn(known.lsn)
    if confirmed >= lsn:
        return True
    if known.commit_lsn is None or parse_lsn(known.commit_lsn) < confirmed or await slot.flushed() < lsn:
        return False
    last = parse_lsn(known.commit_lsn)
    async with aclosing(slot.peek(upto=lsn, most=2**31 - 1)) as parts:
        async for part in parts:
            for message, _ in part:
                if isinstance(message, Begin) and message.commit_lsn == last:
                    return message.committed_at == known.committed_at
    return False


async def _created(slot: StreamSlot, tell: Callable[[str], None], end: str) -> int:
    creating = asyncio.create_task(slot.create())
    try:
        await asyncio.wait({creating}, timeout=_PATIENCE)
        if not creating.done():
            tell(f"the slot waits for the transactions that are open at the {end}")
        return await creating
    finally:
        creating.cancel()

"""Setting a side's sequences as far as the other side's: numbers given out there are not given out again here."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection

from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.migration.target.leftovers import Unusable
from app.migration.target.sequences import (
    DatabaseSequence,
    Position,
    find_sequences,
    follow,
    read_positions,
)
from app.state.fetching import Fetch, fetching

# One side's sequences, and where each stands; None where that could not be read.
Other = dict[DatabaseSequence, Position | None]


@dataclass(slots=True)
class Followed:
    """What could not be done.

    Attributes:
        not_usable: sequences that could not be set so far, and would give out numbers again.
        hidden: those whose numbers stand inside other values, so that only the other side, which could not be read,
            can tell how far they are.
        ahead: names of those that may have given out numbers that no row has any more.
        unknown: names of those that no column uses, and of which the other side's could not be read.
    """

    not_usable: list[Unusable] = field(default_factory=list)
    hidden: list[Unusable] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


async def follow_source(
    connection: AsyncConnection, source: Source, tables: Sequence[CopyTable]
) -> tuple[list[Unusable], list[str]]:
    """Set the target's sequences as far as the source's.

    Returns:
        Sequences that would give out numbers again, and sentences about those that could not be seen.
    """
    if isinstance(source, PostgresSource):
        done = await follow_other(connection, await read_other(source.fetch, tables), tables)
        mend = "GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO the role of --source, then the same command again"
        why = "the source's role may not read the sequences"
    else:
        done = await follow_other(connection, None, tables)
        mend = "botdata verify --fix --source postgresql://... reads them, and sets these"
        why = "over REST it cannot be seen how far the source's sequences are"
    told = []
    if done.ahead:
        told.append(
            f"{why} ({', '.join(done.ahead)}): numbers of rows that were deleted there may be given out again; {mend}"
        )
    if done.unknown:
        told.append(
            f"sequences of the target that no column uses stay as they are, since {why}: {', '.join(done.unknown)}; "
            f"{mend}"
        )
    return done.not_usable + done.hidden, told


async def read_other(fetch: Fetch, tables: Sequence[CopyTable]) -> Other:
    """The sequences of one side, those that no column uses too."""
    found = await find_sequences(fetch, tables, others=True)
    return dict.fromkeys(found) | await read_positions(fetch, found)


async def follow_other(connection: AsyncConnection, other: Other | None, tables: Sequence[CopyTable]) -> Followed:
    """Set the sequences over the connection as far as the other side's, which are those of the same columns or name.

    Args:
        other: None: the other side cannot be read.
    """
    done = Followed()
    for one in await find_sequences(fetching(connection), tables, others=True):
        if one.uses and not one.uses_of(tables):
            continue  # of a table that is not moved
        there = _same(one, list(other or ()))
        known = [position for each in there if other and (position := other[each])]
        if there and len(known) == len(there):
            await _follow_known(connection, one, known, tables, done)
        elif there or other is None:
            await _name(connection, one, tables, done)
    return done


def _same(one: DatabaseSequence, theirs: Sequence[DatabaseSequence]) -> list[DatabaseSequence]:
    """The other side's sequences of the same columns; else the one of the same name."""
    places = {use.place for use in one.uses}
    by_column = [each for each in theirs if not places.isdisjoint(use.place for use in each.uses)]
    name = (one.schema, one.relation)
    return by_column or [each for each in theirs if (each.schema, each.relation) == name]


async def _follow_known(
    connection: AsyncConnection,
    one: DatabaseSequence,
    known: Sequence[Position],
    tables: Sequence[CopyTable],
    done: Followed,
) -> None:
    outside = [each.value for each in known if (each.value > one.high if one.increment > 0 else each.value < one.low)]
    furthest = max(known, key=lambda each: one.next_after(each) * one.increment)
    called = "true" if furthest.is_called else "false"
    statement = f"SELECT setval('{one.name}', {furthest.value}, {called})"
    if outside:
        why = f"the other side's stands at {outside[0]}, which this one cannot reach"
        done.not_usable.append(Unusable(f"sequence {one.name}", why, f"ALTER SEQUENCE {one.name} ...; {statement}"))
    elif not one.uses_of(tables) and not (one.readable and one.settable):
        why = "the role may not read and set it"
        done.not_usable.append(Unusable(f"sequence {one.name}", why, statement))
    else:
        await follow(connection, one, known)


async def _name(
    connection: AsyncConnection, one: DatabaseSequence, tables: Sequence[CopyTable], done: Followed
) -> None:
    """Name a sequence of which the other side's cannot be read."""
    uses = one.uses_of(tables)
    if not uses:
        done.unknown.append(one.name)
        return
    hidden = [f"{use.table}.{use.column}" for use in uses if not use.exact]
    if not hidden:
        done.ahead.append(one.name)
        return
    position = (await read_positions(fetching(connection), [one])).get(one)
    here = f"; here it gives out {one.next_after(position)} next" if position else ""
    done.hidden.append(
        Unusable(
            f"sequence {one.name}",
            f"{', '.join(hidden)} takes numbers from it, and the source's could not be read{here}",
            f"at the source: SELECT last_value FROM {one.name}; "  # noqa: S608 - for a person, with quoted names
            f"then in the target: SELECT setval('{one.name}', THAT NUMBER)",
        )
    )

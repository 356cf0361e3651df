"""Tables `notifications` and `conditions`: what somebody is to be told, and what was well at the last look."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA

_KEPT_DAYS = 30
_TRIED_FOR = "interval '1 day'"
_LONGEST_PAUSE = 3600.0  # seconds between two tries


class Claimed(NamedTuple):
    """A notification that this process sends, until its claim runs out."""

    number: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Undelivered:
    """What did not get through.

    Attributes:
        waiting: notifications that are still to be sent, or tried again.
        given_up: those that nobody took for a day, of the last 30 days.
        last_error: the code of the newest failure among them.
    """

    waiting: int = 0
    given_up: int = 0
    last_error: str | None = None


async def add(
    connection: AsyncConnection, document: Mapping[str, Any], channels: Sequence[str], cause: str | None = None
) -> None:
    """Add a notification for each channel, unless one of the same cause is there; old ones go.

    Args:
        document: as it is sent; nothing in it is personal or secret.
    """
    await connection.execute(
        f"INSERT INTO {SCHEMA}.notifications (id, channel, cause, document) SELECT %(id)s::uuid, channel, %(cause)s, "
        "%(document)s::json FROM unnest(%(channels)s::text[]) channel ON CONFLICT (channel, cause) DO NOTHING",
        {"id": document["id"], "cause": cause, "document": json.dumps(document), "channels": list(channels)},
    )
    await connection.execute(
        f"DELETE FROM {SCHEMA}.notifications WHERE happened_at < clock_timestamp() - make_interval(days => %(days)s)",
        {"days": _KEPT_DAYS},
    )


async def claim(
    connection: AsyncConnection, process: str, channel: str, lease: float, *, at_once: bool = False
) -> Claimed | None:
    """Claim a channel's oldest notification that is due; None where there is none, or where one is on its way.

    Who sends that one claims the next when it has arrived, so that they arrive in their order.

    Args:
        lease: seconds after which another process may claim it.
        at_once: although it was tried a moment ago, or was given up.
    """
    rows = await fetch_rows(
        connection,
        f"UPDATE {SCHEMA}.notifications SET claimed_by = %(process)s, tries = tries + 1, "
        "claimed_until = clock_timestamp() + make_interval(secs => %(lease)s) WHERE number = ("
        f"SELECT min(number) FROM {SCHEMA}.notifications WHERE delivered_at IS NULL AND channel = %(channel)s "
        "AND (%(at_once)s OR claimed_until >= clock_timestamp() "
        f"OR (next_try_at <= clock_timestamp() AND happened_at > clock_timestamp() - {_TRIED_FOR}))) "
        "AND delivered_at IS NULL AND coalesce(claimed_until < clock_timestamp(), true) RETURNING number, document",
        {"process": process, "lease": lease, "channel": channel, "at_once": at_once},
    )
    return Claimed(*rows[0]) if rows else None


async def finish(connection: AsyncConnection, number: int, error: str | None, *, pause: float) -> None:
    """Note what came of a try.

    Args:
        error: its code; None: it was delivered.
        pause: seconds until the second try; twice as long before each further one.
    """
    await connection.execute(
        f"UPDATE {SCHEMA}.notifications SET claimed_by = NULL, claimed_until = NULL, last_error = %(error)s, "
        "delivered_at = CASE WHEN %(error)s::text IS NULL THEN clock_timestamp() END, next_try_at = clock_timestamp() "
        "+ make_interval(secs => least(%(pause)s * 2 ^ least(tries - 1, 20), %(longest)s)) "
        "WHERE number = %(number)s AND delivered_at IS NULL",
        {"error": error, "pause": pause, "longest": _LONGEST_PAUSE, "number": number},
    )


async def undelivered(connection: AsyncConnection) -> Undelivered:
    """What waits, and what was given up."""
    ((waiting, given_up, last_error),) = await fetch_rows(
        connection,
        f"SELECT count(*) FILTER (WHERE happened_at > clock_timestamp() - {_TRIED_FOR}), "
        f"count(*) FILTER (WHERE happened_at <= clock_timestamp() - {_TRIED_FOR}), "
        "(array_agg(last_error ORDER BY number DESC) FILTER (WHERE last_error IS NOT NULL))[1] "
        f"FROM {SCHEMA}.notifications WHERE delivered_at IS NULL",
    )
    return Undelivered(waiting, given_up, last_error)


async def turned(connection: AsyncConnection, topic: str, name: str, *, is_well: bool) -> bool | None:
    """Note whether something is well.

    Returns:
        True: it was otherwise at the last look; False: it was the same; None: nobody had looked at it.
    """
    given = {"topic": topic, "name": name, "is_well": is_well}
    is_new = await fetch_value(
        connection,
        f"INSERT INTO {SCHEMA}.conditions (topic, name, is_well) VALUES (%(topic)s, %(name)s, %(is_well)s) "
        "ON CONFLICT (topic, name) DO NOTHING RETURNING true",
        given,
    )
    if is_new:
        return None
    has_turned = await fetch_value(
        connection,
        f"UPDATE {SCHEMA}.conditions SET is_well = %(is_well)s, since = clock_timestamp() "
        "WHERE topic = %(topic)s AND name = %(name)s AND is_well <> %(is_well)s RETURNING true",
        given,
    )
    return has_turned is not None


async def forget_others(connection: AsyncConnection, topic: str, names: Sequence[str]) -> None:
    """Forget what is not there any more."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.conditions WHERE topic = %(topic)s AND name <> ALL(%(names)s::text[])",
        {"topic": topic, "names": list(names)},
    )


async def take_turn(connection: AsyncConnection, name: str, seconds: float) -> bool:
    """Whether nobody has done this for so many seconds, so that this process does it now."""
    taken = await fetch_value(
        connection,
        f"INSERT INTO {SCHEMA}.conditions AS c (topic, name, is_well) VALUES ('turn', %(name)s, true) "
        "ON CONFLICT (topic, name) DO UPDATE SET since = clock_timestamp() "
        "WHERE c.since < clock_timestamp() - make_interval(secs => %(seconds)s) RETURNING true",
        {"name": name, "seconds": seconds},
    )
    return taken is not None

"""`botdata fleet status`: what is not well with each salon, by what `status` and `cutover status` read of it."""

from psycopg import AsyncConnection

from app.cutover.moves.status import see
from app.errors import INSTALL_NEWER
from app.fleet.outcome import Outcome, SalonResult, away
from app.migration.runs.status import Status, status_of
from app.next_step import Command, NextStep
from app.schema.revision_files import known_revisions
from app.state.fleet.salons import Salon, read_standing
from app.state.tool_schema import newest_version

STEP = "fleet status"
Trouble = tuple[str, NextStep]


async def look(connection: AsyncConnection, salon: Salon) -> Outcome:
    """Where a salon stands, and what is not well with it; nothing is changed.

    Raises:
        MigrationError, psycopg.Error: it cannot be read.
    """
    standing = await read_standing(connection, salon)
    if (gone := away(salon.name, standing)) is not None:
        return gone
    is_unknown = standing.revision not in {None, *known_revisions()}
    is_newer = is_unknown or standing.tool_version > newest_version()
    upgrade = NextStep(INSTALL_NEWER if is_newer else Command("fleet upgrade", f"--only {salon.name}"))
    troubles: list[Trouble] = []
    if standing.revision != (head := known_revisions()[-1]):
        at = f"is at revision {standing.revision}" if standing.revision else "has no revision"
        troubles.append((f"the schema {at}, and this botdata's newest is {head}", upgrade))
    if standing.tool_version != newest_version():
        at = f"is of version {standing.tool_version}" if standing.tool_version else "is missing"
        troubles.append((f"the tool's own schema {at}, and this botdata's is {newest_version()}", upgrade))
    else:
        troubles += _troubles(await status_of(connection))
        troubles += [(one.what, NextStep(one.remedy)) for one in (await see(connection)).troubles]
    if not troubles:
        return Outcome(salon.name, SalonResult.WELL, standing)
    reason = "; ".join(what for what, _ in troubles)
    return Outcome(salon.name, SalonResult.NOT_WELL, standing, reason, troubles[0][1])


def _troubles(found: Status) -> list[Trouble]:
    troubles = []
    newest = found.runs[0] if found.runs else None
    if newest is not None and newest.state == "stopped":
        troubles.append((f"run {newest.number} ({newest.command}) has stopped before its end", found.next_step))
    if found.foreign_keys:
        names = ", ".join(f"{key.name} on {key.of_table}" for key in found.foreign_keys)
        troubles.append((f"foreign keys that a run took away or left unproved: {names}", NextStep(Command("status"))))
    if found.in_quarantine:
        troubles.append((f"{found.in_quarantine:,} rows in quarantine", NextStep(Command("quarantine list"))))
    if found.undelivered.given_up:
        told = f"{found.undelivered.given_up:,} notifications were given up"
        troubles.append((told, NextStep(Command("notify"))))
    return troubles

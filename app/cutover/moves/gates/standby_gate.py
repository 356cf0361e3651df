"""Gate that only warns: what a failover may lose while PostgreSQL is the authority without a synchronous standby."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import AsyncConnection

from app.cutover.moves.gates.objection import Objection
from app.cutover.stages import Stage, Store
from app.state.fetching import fetch_row
from app.state.wal import TIMELINE

READ_ONLY = "the target takes no writes: it is a standby, or its sessions are read-only; no process can report itself"
MAKE_WRITABLE = "have it take writes (default_transaction_read_only), or name the primary in DATABASE_URL"
_WOULD_LOSE = "a failover may lose the last writes that were answered as done, and the last move of the stage"
_BRIEF = 2.0  # seconds that a commit may wait for a standby which is there
_SET_IT = "set synchronous_standby_names at the primary (docs/scale-out.md), or accept that"
# Of roles without pg_monitor the server hides sync_state.
_READ = f"""
SELECT {TIMELINE}, current_setting('synchronous_standby_names') <> '',
    current_setting('synchronous_commit') NOT IN ('off', 'local'), count(s.pid),
    CASE WHEN count(s.pid) = count(s.sync_state)
        THEN count(*) FILTER (WHERE s.sync_state IN ('sync', 'quorum')) END,
    (SELECT CAST(extract(epoch FROM max(clock_timestamp() - state_change)) AS float8)
        FROM pg_stat_activity WHERE wait_event = 'SyncRep'),
    pg_is_in_recovery() OR (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only')
FROM (SELECT) one LEFT JOIN pg_stat_replication s ON true
"""  # noqa: S608 - an expression


class Standbys(NamedTuple):
    """What the primary tells of those that follow it.

    Attributes:
        timeline: the primary's; None: the server is a standby itself.
        are_named: whether commits wait for standbys at all.
        are_waited_for: whether those of this role do (`synchronous_commit`).
        following: how many follow.
        synchronous: how many of them a commit may wait for; None: this role is not told.
        waiting: seconds for which a commit has waited for one; None: none does, of those that this role may see.
        is_read_only: whether the server takes no writes, or new sessions of this role make none.
    """

    timeline: int | None
    are_named: bool
    are_waited_for: bool
    following: int
    synchronous: int | None
    waiting: float | None = None
    is_read_only: bool = False

    @property
    def label(self) -> str:
        """In a few words."""
        if self.timeline is None:
            return "a standby, which takes no writes"
        known = "not known how many" if self.synchronous is None else str(self.synchronous)
        return f"timeline {self.timeline}; standbys: {self.following}, synchronous: {known}"


async def read_standbys(connection: AsyncConnection) -> Standbys:
    """As of now."""
    return Standbys(*await fetch_row(connection, _READ.encode()))


def server_trouble(found: Standbys) -> Objection | None:
    """A server that takes no writes; or a synchronous standby that is away, as commits show that wait for it.

    The server may list such a standby for a minute.
    """
    if found.is_read_only:
        return Objection(READ_ONLY, MAKE_WRITABLE)
    if found.waiting is None or found.waiting < _BRIEF:
        return None
    what = f"a commit has waited for a synchronous standby for {found.waiting:,.0f} s: no write is answered as done"
    return Objection(what, "bring one of synchronous_standby_names back, or take it out of there")


def warnings(found: Standbys, *stages: Stage | None) -> tuple[Objection, ...]:
    """What may be lost where PostgreSQL is the authority at one of these stages."""
    if all(stage is None or stage.authority is not Store.POSTGRES for stage in stages):
        return ()
    if found.timeline is None:
        what = "the server of DATABASE_URL is a standby itself: what protects the primary is not known"
        return (Objection(what, "name the primary in DATABASE_URL, or all hosts (docs/scale-out.md)"),)
    if not found.are_named and not found.following:
        what = f"PostgreSQL has no standby: with its disk all is lost that no backup holds; {_WOULD_LOSE}"
        return (Objection(what, f"have a standby, and {_SET_IT}"),)
    if not found.are_named:
        return (Objection(f"no standby is synchronous: {_WOULD_LOSE}", _SET_IT),)
    if not found.are_waited_for:
        what = f"synchronous_commit is off or local, so that no commit waits for a standby: {_WOULD_LOSE}"
        return (Objection(what, "ALTER ROLE ... SET synchronous_commit = 'on', for the roles of the bot"),)
    if found.synchronous is None:
        what = "whether a synchronous standby follows is not known: this role may not see sync_state"
        return (Objection(what, "GRANT pg_monitor to the role in DATABASE_URL"),)
    if not found.synchronous:
        what = "no standby of synchronous_standby_names follows: no commit ends, and no write is answered as done"
        return (Objection(what, "bring one of them back, or take it out of synchronous_standby_names"),)
    return ()

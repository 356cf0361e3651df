"""How to follow a change stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """How to follow a change stream.

    Attributes:
        interval: seconds between peeks at least.
        most_held: bytes of the log that the source may keep for the slot before the stream is given up.
        until_lsn: end when everything before it is applied; None: go on until stopped.
        until_now: the same, with the LSN at which the source is when it begins.
        accept_unbounded: the source may keep its log for the slot without a limit of its own.
        most_messages: of one peek.
        check_interval: seconds between looks at the source's catalog.
        idle_interval: seconds after which a slot without changes is advanced, and between looks at what it holds back.
    """

    interval: float = 0.5
    most_held: int = 10 * 1024**3
    until_lsn: int | None = None
    until_now: bool = False
    accept_unbounded: bool = False
    most_messages: int = 100_000
    check_interval: float = 60.0
    idle_interval: float = 10.0

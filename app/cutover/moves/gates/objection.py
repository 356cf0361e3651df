"""A reason not to move the stage, with what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Objection:
    """What stands against a move, in one sentence, and its remedy: mostly a command to run.

    Attributes:
        loses_outbox: who moves all the same drops the entries of the outbox, which Supabase will not get.
        of_stream: who moves all the same does not wait for the change stream either.
    """

    what: str
    remedy: str
    loses_outbox: bool = False
    of_stream: bool = False


def bring_back(process: str) -> str:
    """The remedy for a process that reports no more."""
    return f"bring it back, or stop it; if it has ended: botdata cutover forget {process}"

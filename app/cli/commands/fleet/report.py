"""What came of a fleet's command, salon by salon, as a table and as a document."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from app.cli.output import document, plain, say, show_table
from app.fleet.outcome import Outcome, Result
from app.next_step import NextStep


def show_fleet(outcomes: Collection[Outcome], stopped: str | None, following: str | None) -> None:
    """Print a line a salon, those that are not well at the end, and how many there are of each kind.

    Args:
        stopped: why not all was done, in words.
        following: the command to run next.
    """
    headings = ["salon", "revision", "stage", "outcome", "reason", "next step"]
    lines = [_line(one) for one in sorted(outcomes, key=lambda one: not one.result.is_well)]
    show_table(headings, lines)
    counts = Counter(one.result for one in outcomes)
    told = ", ".join(f"{count:,} {result}" for result, count in counts.most_common())
    say(f"{len(outcomes):,} salon{'s' if len(outcomes) != 1 else ''}: {told}")
    if stopped is not None:
        say(f"NOT all was done: {plain(stopped)}")
    if following is not None:
        say(f"Next: {following}")


def _line(one: Outcome) -> list[str]:
    revision, stage = (one.standing.revision, one.standing.stage) if one.standing else (None, None)
    return [one.salon, revision or "-", stage or "-", one.result, one.reason or "", _next(one) or ""]


def fleet_document(
    command: str, outcomes: Collection[Outcome], ok: bool, stopped: str | None, following: str | None
) -> dict[str, Any]:
    """All of it for `--json`."""
    counts = Counter(one.result for one in outcomes)
    return document(
        command,
        ok=ok,
        counts=[{"outcome": result.value, "salons": counts[result]} for result in Result if counts[result]],
        salons=[
            {
                "salon": one.salon,
                "revision": one.standing.revision if one.standing else None,
                "stage": one.standing.stage if one.standing else None,
                "outcome": one.result.value,
                "ok": one.result.is_well,
                "reason": one.reason,
                "next": _next(one),
                "seconds": round(one.seconds, 3),
            }
            for one in outcomes
        ],
        stopped=stopped,
        next=following,
    )


def _next(one: Outcome) -> str | None:
    """What to do next for a salon: its own commands say which schema they mean."""
    if one.next_step is None:
        return None
    return "".join(_in_schema(str(part), one.salon) for part in NextStep(*one.next_step))


def _in_schema(part: str, salon: str) -> str:
    own = part.startswith("botdata ") and not part.startswith("botdata fleet ") and salon != "public"
    return f"DATABASE_SCHEMA={salon} {part}" if own else part

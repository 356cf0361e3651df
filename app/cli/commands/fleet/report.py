"""What came of a fleet's command, salon by salon, as a table and as a document."""

from collections import Counter
from collections.abc import Collection

from app.cli.render import Document, Table, Words, document, plain
from app.fleet.outcome import Outcome, SalonResult
from app.next_step import NextStep


def fleet_words(found: Document) -> Words:
    """A line a salon, those that are not well at the end, and how many there are of each kind."""
    fields = ("salon", "revision", "stage", "outcome", "reason", "next")
    salons = sorted(found["salons"], key=lambda one: not one["ok"])
    blank = {"revision": "-", "stage": "-"}
    rows = [[one[field] or blank.get(field, "") for field in fields] for one in salons]
    yield Table(["salon", "revision", "stage", "outcome", "reason", "next step"], rows)
    counts = Counter(one["outcome"] for one in found["salons"])
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())
    yield f"{len(salons):,} salon{'s' if len(salons) != 1 else ''}: {told}"
    if found["stopped"] is not None:
        yield f"NOT all was done: {plain(found['stopped'])}"
    if found["next"] is not None:
        yield f"Next: {found['next']}"


def fleet_document(
    command: str, outcomes: Collection[Outcome], ok: bool, stopped: str | None, following: str | None
) -> Document:
    """All of it for `--json`."""
    counts = Counter(one.result for one in outcomes)
    return document(
        command,
        ok=ok,
        counts=[{"outcome": result.value, "salons": counts[result]} for result in SalonResult if counts[result]],
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

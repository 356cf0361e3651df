"""Words that the commands `botdata cutover ...` share: reasons with their remedies, moments, spans of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.cli.render import Document, moment

if TYPE_CHECKING:
    from app.cutover.moves.gates.objection import Objection
    from app.state.cutover.accepted_differences import AcceptedDifference


def reasons(listed: Sequence[Document], heading: str) -> Iterator[str]:
    """Each reason of a document with its remedy."""
    for one in listed:
        yield f"{heading}: {one['what']}"
        yield f"  remedy: {one['remedy']}"


def counted(objections: Sequence[Objection]) -> str:
    """How many things stand."""
    if not objections:
        return "nothing stands"
    return "one thing stands" if len(objections) == 1 else f"{len(objections)} things stand"


def after(reasons: Sequence[Objection], command: str) -> str:
    """The remedy, or all of them, and then a command."""
    first = reasons[0].remedy if len(reasons) == 1 else "each remedy"
    return first if first.endswith(command) else f"{first}; then: {command}"


def reason_list(reasons: Sequence[Objection]) -> list[Document]:
    """Reasons with their remedies, for a document."""
    return [{"what": one.what, "remedy": one.remedy} for one in reasons]


def accepted(listed: Sequence[Document]) -> Iterator[str]:
    """A line for each difference of a document that is, or was, accepted."""
    for one in listed:
        how = "was accepted until {until}, and counts again" if one["ended"] else "accepted until {until}"
        where = f"{one['method']}: {', '.join(one['places'])} (by {one['accepted_by']}: {one['reason']})"
        yield f"{how.format(**one)}: {where}"


def accepted_list(listed: Sequence[AcceptedDifference]) -> list[Document]:
    """Accepted differences, for a document."""
    return [
        {
            "method": one.method,
            "field": one.field,
            "places": one.places,
            "until": one.until.isoformat(),
            "ended": one.ended,
            "reason": one.reason,
            "accepted_by": one.accepted_by,
            "accepted_at": moment(one.accepted_at),
        }
        for one in listed
    ]


def ago(seconds: float) -> str:
    """A span of time in its largest fitting unit."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def reads_told(processes: Sequence[Document]) -> Iterator[str]:
    """What those processes of a document say that read from standbys: the standbys' share, and how each is."""
    for process in processes:
        if (reads := process["reads"]) is None:
            continue
        all_reads = reads["by_standbys"] + reads["by_primary"]
        share = 100 * reads["by_standbys"] / max(1, all_reads)
        yield f"{process['process']}: standbys answered {share:.1f} % of {all_reads:,} reads"
        for one in reads["standbys"]:
            lag = "" if one["lag_bytes"] is None else f", {one['lag_bytes']:,} bytes behind"
            lag += "" if not one["lag_seconds"] else f" ({one['lag_seconds']:.1f} s)"
            yield f"{process['process']}: standby {one['standby']}: {one['state']}{lag}"

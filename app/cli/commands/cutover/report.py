"""The command `botdata cutover report`: what came of the comparisons of both stores' answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.event_loop import run_async
from app.cli.work import AsJson

if TYPE_CHECKING:
    from app.cutover.moves.comparison_report import ComparisonReport
    from app.state.cutover.comparisons import DifferenceReport, MethodReport

_SHOWN = 10  # differences
_KEPT = 72.0  # hours that the processes keep their counts (app.state.cutover.comparisons)
_IN_DOCUMENT = 100
_COUNTS = ("calls", "compared", "equal", "different", "accepted", "error", "skipped")
_SHARES = ("compared_share", "different_share")

Hours = Annotated[float, typer.Option(help="How far back it looks.", min=0.0, max=_KEPT)]


def report(hours: Hours = 24.0, as_json: AsJson = False) -> None:
    """How the stores' answers compared. How often, by method, how fast both were, and what differed.

    Example: botdata cutover report --hours 1
    """
    from app.cli.output import show_json
    from app.cutover.moves.comparison_report import comparison_report
    from app.settings import load_settings

    settings = load_settings()
    most = _IN_DOCUMENT if as_json else _SHOWN
    found = run_async(comparison_report(settings, hours=hours, most=most))
    if as_json:
        show_json(report_document(found))
    else:
        show_report(found)


def show_report(found: ComparisonReport) -> None:
    """Print a line for each method, and for each cause of differences."""
    from app.cli.output import say
    from app.cli.reports.cutover_words import show_accepted

    _show_methods([method for method in found.methods if not method.against_itself])
    if noise := [method for method in found.methods if method.against_itself]:
        say("the authority compared with itself, the noise that no gate counts:")
        _show_methods(noise)
    for difference in found.differences:
        _show_difference(difference)
    show_accepted(found.accepted)
    compared = sum(method.compared for method in found.methods if not method.against_itself)
    different = sum(method.different for method in found.methods if not method.against_itself)
    said = f"{compared:,} answers compared in the last {found.hours:g} h, {different:,} different"
    if known := different - _unaccepted(found):
        said += f", {known:,} of them accepted"
    say(f"report: {said}. Next: {_next_command(found)}")


def _show_methods(methods: list[MethodReport]) -> None:
    from app.cli.output import show_table

    headings = ["stage", "method", *_COUNTS, "compared %", "different %"]
    headings += [f"{store} {share}" for store in ("Supabase", "PostgreSQL") for share in ("p50 ms", "p99 ms")]
    rows = []
    for method in methods:
        counts = [f"{getattr(method, name):,}" for name in _COUNTS]
        shares = [getattr(method, name) for name in _SHARES]
        rates = ["-" if share is None else f"{share * 100:.2f}" for share in shares]
        times = ["-" if seconds is None else f"{seconds * 1000:.1f}" for seconds in _times(method).values()]
        rows.append([method.stage, method.method, *counts, *rates, *times])
    show_table(headings, rows, numbers=frozenset(range(2, len(headings))))


def _show_difference(difference: DifferenceReport) -> None:
    from app.cli.output import say

    noise = ", the authority against itself" if difference.against_itself else ""
    first, last = (f"{at:%Y-%m-%d %H:%M:%S %Z}" for at in (difference.first_at, difference.last_at))
    where = f"{difference.stage}{noise}; since {first}, last {last}"
    known = ", accepted" if difference.accepted else ""
    say(f"{difference.count:,} x {difference.method}: {difference.cause} ({where}{known})")
    say(f"  {difference.method}({difference.arguments})")
    for field in difference.fields[:5]:
        values = f": {' | '.join(field['values'])}" if "values" in field else ""
        say(f"  {field['path']}: {' | '.join(field['types'])}, hashes {' | '.join(field['hashes'])}{values}")


def report_document(found: ComparisonReport) -> dict[str, Any]:
    """All of it for `--json`; times in seconds."""
    from app.cli.output import document
    from app.cli.reports.cutover_words import accepted_list

    return document(
        "cutover report",
        ok=True,
        hours=found.hours,
        methods=[
            {
                "stage": method.stage,
                "method": method.method,
                "against_itself": method.against_itself,
                **{name: getattr(method, name) for name in _COUNTS},
                **{name: _rounded(getattr(method, name)) for name in _SHARES},
                **{name: _rounded(seconds) for name, seconds in _times(method).items()},
            }
            for method in found.methods
        ],
        differences=[
            {
                "stage": difference.stage,
                "method": difference.method,
                "against_itself": difference.against_itself,
                "cause": difference.cause,
                "accepted": difference.accepted,
                "count": difference.count,
                "arguments": difference.arguments,
                "fields": [
                    {name: field.get(name) for name in ("path", "types", "hashes", "values", "inside")}
                    for field in difference.fields
                ],
                "first_at": difference.first_at.isoformat(),
                "last_at": difference.last_at.isoformat(),
            }
            for difference in found.differences
        ],
        accepted=accepted_list(found.accepted),
        next=_next_command(found),
    )


def _times(method: MethodReport) -> dict[str, float | None]:
    """The quantiles of both stores, in seconds."""
    from app.common.latency import Latencies
    from app.cutover.stages import Store

    whole = {store: Latencies(counts) for store, counts in method.by_store.items()}
    shares = {"p50": 0.5, "p99": 0.99}
    return {f"{store}_{name}": whole[store].quantile(share) for store in Store for name, share in shares.items()}


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)


def _unaccepted(found: ComparisonReport) -> int:
    return sum(method.different - method.accepted for method in found.methods if not method.against_itself)


def _next_command(found: ComparisonReport) -> str:
    if _unaccepted(found):
        return "botdata verify, which names the rows that differ"
    return "botdata cutover status"

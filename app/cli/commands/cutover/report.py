"""The commands `botdata cutover report` and `accept`: how both stores' answers compared, and what is known of that."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, GivenOptions, again
from app.cli.render import Document, Table, Words, document, rounded, show
from app.cli.reports.cutover_words import accepted, accepted_list
from app.cli.running import load_settings, move_and_tell, run_async
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.cutover.moves.comparison_report import ComparisonReport
    from app.state.cutover.comparisons import DifferenceReport, MethodReport


_SHOWN = 10  # differences
_KEPT = 72.0  # hours that the processes keep their counts (app.state.cutover.comparisons)
_IN_DOCUMENT = 100
_COUNTS = ("calls", "compared", "equal", "different", "accepted", "error", "skipped")
_SHARES = ("compared_share", "different_share")
_TIMES = ("supabase_p50", "supabase_p99", "postgres_p50", "postgres_p99")

Hours = Annotated[float, typer.Option(help="How far back it looks.", min=0.0, max=_KEPT)]


def report(hours: Hours = 24.0, as_json: AsJson = False) -> None:
    """How the stores' answers compared. How often, by method, how fast both were, and what differed.

    Example: botdata cutover report --hours 1
    """
    from app.cutover.moves.comparison_report import comparison_report

    most = _IN_DOCUMENT if as_json else _SHOWN
    compared = run_async(comparison_report(load_settings(), hours=hours, most=most))
    found = report_document(compared)
    show(found, report_words(compared, found), as_json)


def report_words(report: ComparisonReport, found: Document) -> Words:
    """A line for each method, and for each cause of differences."""
    yield _methods([one for one in found["methods"] if not one["against_itself"]])
    if noise := [one for one in found["methods"] if one["against_itself"]]:
        yield "the authority compared with itself, the noise that no gate counts:"
        yield _methods(noise)
    for difference in report.differences:
        yield from _difference(difference)
    yield from accepted(found["accepted"])
    compared = sum(method.compared for method in report.methods if not method.against_itself)
    different = sum(method.different for method in report.methods if not method.against_itself)
    said = f"{compared:,} answers compared in the last {report.hours:g} h, {different:,} different"
    if known := different - _unaccepted(report):
        said += f", {known:,} of them accepted"
    yield f"report: {said}. Next: {found['next']}"


def _methods(methods: Sequence[Document]) -> Table:
    headings = ["stage", "method", *_COUNTS, "compared %", "different %"]
    headings += [f"{store} {share}" for store in ("Supabase", "PostgreSQL") for share in ("p50 ms", "p99 ms")]
    rows = [
        [
            one["stage"],
            one["method"],
            *(one[name] for name in _COUNTS),
            *(None if one[name] is None else f"{one[name] * 100:.2f}" for name in _SHARES),
            *(None if one[name] is None else one[name] * 1000 for name in _TIMES),
        ]
        for one in methods
    ]
    return Table(headings, rows, numbers=range(2, len(headings)))


def _difference(difference: DifferenceReport) -> Words:
    noise = ", the authority against itself" if difference.against_itself else ""
    first, last = (f"{at:%Y-%m-%d %H:%M:%S %Z}" for at in (difference.first_at, difference.last_at))
    where = f"{difference.stage}{noise}; since {first}, last {last}"
    known = ", accepted" if difference.accepted else ""
    yield f"{difference.count:,} x {difference.method}: {difference.cause} ({where}{known})"
    yield f"  {difference.method}({difference.arguments})"
    for field in difference.fields[:5]:
        values = f": {' | '.join(field['values'])}" if "values" in field else ""
        yield f"  {field['path']}: {' | '.join(field['types'])}, hashes {' | '.join(field['hashes'])}{values}"


def report_document(found: ComparisonReport) -> Document:
    """All of it for `--json`; times in seconds."""
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
                **{name: rounded(getattr(method, name), 6) for name in _SHARES},
                **{name: rounded(seconds, 6) for name, seconds in _times(method).items()},
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


def _unaccepted(found: ComparisonReport) -> int:
    return sum(method.different - method.accepted for method in found.methods if not method.against_itself)


def _next_command(found: ComparisonReport) -> str:
    if _unaccepted(found):
        return "botdata verify, which names the rows that differ"
    return "botdata cutover status"


_NEXT = "botdata cutover advance --dry-run"


def accept(
    method: Annotated[str | None, typer.Argument(help="A method, as botdata cutover report shows it.")] = None,
    field: Annotated[str | None, typer.Argument(help="A field that differs in its answers.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is harmless; it is kept.")] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The last day, in UTC, on which no gate counts it.", metavar="DATE"),
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Have the gates count it again, from now on.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Only list what is accepted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a known difference out of the gate's way, up to a day. It stays in report, status and history.

    Only what was seen so far is accepted: a value of another type in the same field is counted.

    Example: botdata cutover accept get_services price_min --reason "shown without its scale" --until 2026-12-24
    """
    from app.cutover.moves import acceptance

    if only_list:
        settings = load_settings()
    elif method is None or field is None:
        raise typer.BadParameter("a method and a field are needed, or --list", param_hint="METHOD FIELD")
    elif withdraw:
        settings = load_settings()
        given = GivenOptions("cutover accept", own=(shlex.quote(method), shlex.quote(field), "--withdraw"))
        move_and_tell(settings, acceptance.withdraw(settings, method, field), given)
    else:
        if reason is None or not reason.strip():
            raise typer.BadParameter("a reason is needed, which the history keeps", param_hint="--reason")
        if until is None or until.date() < datetime.now(UTC).date():
            raise typer.BadParameter("a day is needed, today or later", param_hint="--until")
        settings = load_settings()
        accepting = acceptance.accept(settings, method, field, reason=reason, until=until.date())
        own = again(reason=mask_free_text(reason, settings.secrets()), until=until.date())
        given = GivenOptions("cutover accept", own=(shlex.quote(method), shlex.quote(field), *own))
        move_and_tell(settings, accepting, given)
    listed = run_async(acceptance.accepted_differences(settings))
    found = document("cutover accept", ok=True, accepted=accepted_list(listed), next=_NEXT)
    show(found, _words(found), as_json)


def _words(found: Document) -> Words:
    if not found["accepted"]:
        yield "no difference is accepted"
    yield from accepted(found["accepted"])
    yield f"Next: {_NEXT}"

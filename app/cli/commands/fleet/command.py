"""The commands `botdata fleet ...`: for all salons of a database what `status`, `upgrade` and `verify` do for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, MaxRate, WithBaileys, again, rate_of
from app.cli.progress import Notices, progress
from app.cli.project import read_project
from app.cli.render import Document, Table, Words, complain, document, plain, show
from app.cli.running import load_settings, run_async
from app.errors import MigrationError, SettingsError
from app.next_step import NextStep
from app.privacy import mask_free_text

if TYPE_CHECKING:
    from app.fleet.chosen_salons import Chosen
    from app.fleet.each_salon import Fleet, Work
    from app.fleet.outcome import Outcome
    from app.migration.sources.source import Progress
    from app.settings import Settings


_JOBS = 4
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"

Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only salons of such names, as 't*'; may be given again.", metavar="PATTERN"),
]
Jobs = Annotated[int, typer.Option("--jobs", help="So many salons at a time.", min=1, max=32, metavar="N")]


def status(only: Only = None, jobs: Jobs = _JOBS, as_json: AsJson = False) -> None:
    """Where each salon stands, and what is not well with it. Reads only. Exit code 1 where something is not.

    Example: botdata fleet status --only 't*'
    """
    from app.fleet.chosen_salons import choose
    from app.fleet.status import STEP, look

    settings, url = _prepared(STEP)
    chosen = run_async(choose(url, only or (), step=STEP))
    fleet, stopped = _run(STEP, url, chosen, jobs, lambda _: look, to_its_end=False)
    _end(fleet, settings, stopped, as_json, None)


def upgrade(
    only: Only = None,
    create: Annotated[
        list[str] | None,
        typer.Option(
            "--create", help="Make a salon of this name where it is missing; may be given again.", metavar="NAME"
        ),
    ] = None,
    create_from: Annotated[
        Path | None, typer.Option("--create-from", help="The same for each name of a file, one a line.", metavar="FILE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    jobs: Jobs = _JOBS,
    as_json: AsJson = False,
) -> None:
    """Upgrade each salon's schema, and the tool's own beside it. Each in one transaction; goes on after a failure.

    What is at the newest revision is passed over, so that the same command goes on after a stop.

    Example: botdata fleet upgrade --create t17 --only 't*'
    """
    from app.fleet.chosen_salons import checked_names, choose
    from app.fleet.upgrade import STEP, Upgrades

    settings, url = _prepared(STEP)
    names = checked_names([*(create or ()), *(_names_in(create_from) if create_from else ())])
    chosen = run_async(choose(url, only or (), names, step=STEP))
    upgrades = Upgrades(url, chosen, dry_run=dry_run)
    try:
        fleet, stopped = _run(STEP, url, chosen, jobs, lambda _: upgrades.upgrade, to_its_end=True)
    finally:
        upgrades.close()
    own = again(only=only, jobs=None if jobs == _JOBS else jobs, create=create, create_from=create_from)
    _end(fleet, settings, stopped, as_json, " ".join([f"botdata {STEP}", *own]))


def verify(
    sources: Annotated[
        Path,
        typer.Option(
            "--sources",
            help="A TOML file with each salon's source, closed to others: docs/settings.md.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    only: Only = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            help="Pass over salons that a verify found equal to the same source since then (UTC).",
            formats=[_MOMENT, "%Y-%m-%d"],
            show_default=False,
        ),
    ] = None,
    with_baileys: WithBaileys = False,
    max_rate: MaxRate = None,
    jobs: Jobs = _JOBS,
    as_json: AsJson = False,
) -> None:
    """Compare every row of each salon with its own source. Exit code 0 only when all that were asked for are equal.

    A salon at `complete` that the file does not name is "not compared", which is no failure; any other one is.

    Example: botdata fleet verify --sources sources.toml --only 't*'
    """
    from app.fleet.chosen_salons import choose
    from app.fleet.outcome import Outcome, SalonResult
    from app.fleet.verify import STEP, Verifications, read_sources
    from app.migration.tables.metadata import load_metadata, select_tables

    rate = rate_of(max_rate)
    settings, url = _prepared(STEP)
    known = read_sources(sources)
    groups = {"business", "baileys"} if with_baileys else {"business"}
    tables = select_tables(load_metadata(None), names=None, groups=groups)
    chosen = run_async(choose(url, only or (), step=STEP))
    moment = since.replace(tzinfo=UTC) if since else None

    def work(progress: Progress) -> Work:
        def progress_of(salon: str) -> Progress:
            return Notices(lambda message: progress.notice(f"{salon}: {message}"))

        return Verifications(url, known, tables, moment, rate, progress_of).compare

    fleet, stopped = _run(STEP, url, chosen, jobs, work, to_its_end=False)
    if not only:
        for name in sorted(known.keys() - fleet.outcomes.keys()):
            reason = "the file names a source for it, and the database has no such salon"
            fleet.outcomes[name] = Outcome(name, SalonResult.FAILED, reason=reason)
    own = again(
        sources=sources,
        only=only,
        jobs=None if jobs == _JOBS else jobs,
        since=f"{(moment or chosen.began_at).astimezone(UTC):{_MOMENT}}",
        with_baileys=with_baileys,
        max_rate=max_rate,
    )
    compared = {
        SalonResult.EQUAL,
        SalonResult.EQUAL_SINCE,
        SalonResult.DIFFERS,
        SalonResult.FAILED,
        SalonResult.NOT_DONE,
    }
    if stopped is None and not any(one.result in compared for one in fleet.outcomes.values()):
        stopped = "nothing was compared"
    _end(fleet, settings, stopped, as_json, " ".join([f"botdata {STEP}", *own]))


def _prepared(step: str) -> tuple[Settings, str]:
    from app.fleet.chosen_salons import database_of

    settings = load_settings()
    project = read_project()
    if project.metadata is not None or project.revisions is not None:
        raise MigrationError(
            f"botdata {step} knows the bot's own tables alone, and pyproject.toml names another project's",
            step=step,
            pending="everything; nothing was read or written",
            next_step=NextStep("the same command in another directory"),
        )
    return settings, database_of(settings)


def _run(
    step: str, url: str, chosen: Chosen, jobs: int, work: Callable[[Progress], Work], *, to_its_end: bool
) -> tuple[Fleet, str | None]:
    """Do it; gives what came of it, and why it stopped before its end, in words."""
    from app.fleet.each_salon import Fleet

    with progress(step, of_salons=True) as bars:
        fleet = Fleet(url, step, chosen.salons, jobs, bars, to_its_end)
        try:
            run_async(fleet.run(work(bars)))
        except KeyboardInterrupt:
            return fleet, "it was interrupted"
        except MigrationError as error:
            complain(f"botdata {step} stopped: {error.message}")
            return fleet, error.message
    return fleet, None


def _end(fleet: Fleet, settings: Settings, stopped: str | None, as_json: bool, again: str | None) -> None:
    secrets = settings.secrets()
    outcomes = [
        replace(one, reason=one.reason and mask_free_text(one.reason, secrets)) for one in fleet.outcomes.values()
    ]
    ok = stopped is None and all(one.result.is_well for one in outcomes)
    found = fleet_document(fleet.step, outcomes, ok, stopped, None if ok else again)
    show(found, fleet_words(found), as_json)


def _names_in(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not a UTF-8 text file") from None


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
    from app.fleet.outcome import SalonResult

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

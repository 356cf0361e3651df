"""The command `botdata rehearse`: what it looks at and asks before it starts, and what it says at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.commands.copy import JOBS, Jobs
from app.cli.commands.preflight import accepted_of, finding_lines
from app.cli.options import (
    Accept,
    AsJson,
    GivenOptions,
    IgnoreColumn,
    KeyRoleOk,
    MaxRate,
    Metadata,
    SourceUrl,
    Tables,
    WithBaileys,
    Yes,
    again,
    require_yes,
)
from app.cli.render import Document, Table, Words, complain, document, first, reason, rounded, say_words, show
from app.cli.running import carry_out, load_settings
from app.cli.work import Work
from app.errors import MigrationError
from app.next_step import Command, NextStep

if TYPE_CHECKING:
    from app.cli.commands.rehearse.move import Rehearsal
    from app.rehearsal.database import Leftovers
    from app.rehearsal.disk_room import Room
    from app.rehearsal.places import Places


On = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="Another server to rehearse on, by any database of it, which is left as it is.",
        metavar="URL",
        show_default="the server of DATABASE_URL",
    ),
]


def rehearse(
    tables: Tables = None,
    with_baileys: WithBaileys = False,
    key_role_ok: KeyRoleOk = False,
    source: SourceUrl = None,
    metadata: Metadata = None,
    ignore_column: IgnoreColumn = None,
    accept: Accept = None,
    jobs: Jobs = JOBS,
    max_rate: MaxRate = None,
    on: On = None,
    without_cutover: Annotated[
        bool, typer.Option("--without-cutover", help="End after the sync, as for the plain cutover.")
    ] = False,
    accept_unknown_disk: Annotated[
        bool, typer.Option("--accept-unknown-disk", help="Although it cannot be known whether there is room.")
    ] = False,
    clean_up: Annotated[bool, typer.Option("--clean-up", help="Only remove what a killed rehearsal left.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """The whole move on a throw-away target, with the time of each step. Nothing is written to the source.

    Copy, verify and sync beside the living source; for the bot's own models then the cutover there and back, between
    the copy and a stand-in source, with example processes.

    Example: botdata rehearse --with-baileys
    """
    from app.cli.commands.rehearse.move import Wishes, left_out, next_step_after
    from app.cli.commands.rehearse.move import rehearse as carry_through
    from app.rehearsal.database import remove_leftovers
    from app.rehearsal.places import Places
    from app.stores.postgres.database_url import sqlalchemy_url

    require_yes(yes or clean_up, as_json)
    if clean_up:
        _clean_up(on, as_json)
        return
    server = None if on is None else sqlalchemy_url(on, name="--on").set(drivername="postgresql")
    shown = None if server is None else server.render_as_string(hide_password=True)
    unwished = "--without-cutover" if without_cutover else "--tables: it needs all of them" if tables else None
    wishes = Wishes(key_role_ok, accepted_of(ignore_column, accept), jobs, unwished)
    work = Work.prepare(
        "rehearse", tables, with_baileys, key_role_ok, source, metadata, max_rate=max_rate,
        checks=again(ignore_column=ignore_column, accept=accept),
        own=again(without_cutover=without_cutover, on=shown),
    )  # fmt: skip
    places = Places(work.target, on)
    remove = " ".join(["botdata rehearse --clean-up", *again(on=shown)])
    found = work.carry_out(lambda: remove_leftovers(places, complain))
    say_words(leftovers_words(found))
    why = left_out(work, wishes)
    size, rooms = work.carry_out(lambda: _look(work, places, cutover=why is None))
    say_words(announce(places, size, rooms, why, remove))
    _require_room(size, rooms, work.given, accepted=accept_unknown_disk)
    if not yes:
        typer.confirm("Begin?", abort=True)
    _end_with_the_terminal()
    done = work.carry_out(lambda: carry_through(work, places, wishes))
    report = rehearsal_document(done, places, size, work.given.text(next_step_after(done)))
    show(report, rehearsal_words(done, report, remove), as_json)


def _end_with_the_terminal() -> None:
    """Have SIGHUP end it as SIGTERM does: rows would stay behind; under nohup it goes on."""
    import signal

    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def _clean_up(on: str | None, as_json: bool) -> None:
    """Needs no source: it may be gone."""
    from app.rehearsal.database import remove_leftovers
    from app.rehearsal.places import Places

    places = Places(load_settings().require_database_url(), on)
    found = carry_out(remove_leftovers(places, complain), GivenOptions("rehearse", own=("--clean-up",)))
    words = list(leftovers_words(found)) or ["no killed rehearsal has left anything"]
    show(leftovers_document(found), words, as_json, beside=True)


async def _look(work: Work, places: Places, *, cutover: bool) -> tuple[int | None, list[Room]]:
    """The source's size, and the room where the rehearsal will lie; stops where it cannot be."""
    from app.migration.target.target_session import explained
    from app.rehearsal.directories import temporary_directory
    from app.rehearsal.disk_room import room_at, server_room, source_bytes
    from app.rehearsal.places import NOTHING_DONE, STEP, require_may_create

    if work.given.foreign and work.revisions is None:
        raise MigrationError(
            "these models have no revisions, so an empty database cannot be given their tables",
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep(
                Command("adopt"), ", which writes them; then, in the project's directory: ", Command(STEP)
            ),
        )
    async with await places.server_session() as server:
        await require_may_create(server, places.setting)
        rooms = [await server_room(server, f"the server {places.shown}")]
    if cutover:
        rooms.append(room_at(temporary_directory(), str(temporary_directory())))
    async with work.working(STEP) as (source, _):
        with explained(STEP, setting=source.setting, pending=NOTHING_DONE):
            return await source_bytes(source, work.tables), rooms


def _require_room(size: int | None, rooms: list[Room], given: GivenOptions, *, accepted: bool) -> None:
    """Stop where there is too little room, or where that cannot be known and was not accepted."""
    from app.rehearsal.disk_room import too_little
    from app.rehearsal.places import NOTHING_DONE, STEP

    if short := too_little(size or 0, rooms):
        raise MigrationError(
            "; ".join(short),
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep(
                "make room, or rehearse on another server with --on, then: ", given.complete(Command(STEP))
            ),
        )
    unknown = ["the source does not tell its size"] if size is None else []
    unknown += [f"{room.where} does not tell how much of its disk is free" for room in rooms if room.free is None]
    if unknown and not accepted:
        needed = "twice the source's size" if size is None else f"{2 * size:,} bytes, twice the source's size"
        raise MigrationError(
            f"{'; '.join(unknown)}; {needed} is needed",
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep("look for yourself, then: ", given.complete(Command(STEP, "--accept-unknown-disk"))),
        )


def announce(
    places: Places, size: int | None, rooms: Sequence[Room], why_no_cutover: str | None, clean_up: str
) -> Words:
    """What will be where, and how it goes away."""
    held = f"{size:,} bytes" if size is not None else "of a size that it does not tell"
    yield f"The rows of the source ({held}) are copied: PRODUCTION DATA will lie"
    yield f"  in a database of its own, botdata_rehearsal_..., on {places.shown}"
    for room in rooms[1:]:
        yield f"  for the cutover, in a stand-in source under {room.where}"
    yield (
        "Both are removed at the end, also after Ctrl-C. What a killed rehearsal left is removed by the next one, or by"
    )
    yield f"  {clean_up}"
    yield "Nothing is written to the source, and to the target nothing but a record in schema botdata."
    if why_no_cutover is not None:
        yield f"NOT rehearsed: the cutover there and back ({why_no_cutover})"


def rehearsal_words(done: Rehearsal, found: Document, clean_up: str) -> Words:
    """The steps with their times, what preflight found, what was refused, and the verdict."""
    headings = {"step": "step", "state": "", "seconds": "seconds", "rows": "rows", "bytes": "bytes"}
    yield Table.of(found["steps"], headings, texts=2)
    for step in done.steps.done:
        if step.said:
            yield f"{step.name}: {step.said}"
    asked = [one for one in done.findings if one.severity != "notice"]
    if asked:
        yield "What preflight would ask:"
        yield from finding_lines(asked)
    yield from first([f"refused: {one['table']} {', '.join(one['key'])}: {reason(one)}" for one in found["refused"]])
    missing = found["not_rehearsed"]
    verdict = "every step that was taken passed" if done.steps.all_passed else "NOT every step passed"
    yield f"rehearsal: {verdict}{'; NOT rehearsed: ' + ', '.join(missing) if missing else ''}"
    removed = "nothing of it is left"
    yield f"NOT all of it is removed; {clean_up} tries again" if done.left else removed
    yield f"Next: {found['next']}"


def rehearsal_document(done: Rehearsal, places: Places, size: int | None, next_command: str) -> Document:
    """All of it for `--json`."""
    from app.rehearsal.steps import LEFT_OUT

    return document(
        "rehearse",
        ok=done.ok,
        server=places.shown,
        source_bytes=size,
        steps=[
            {
                "step": step.name,
                "state": step.state,
                "seconds": rounded(step.seconds),
                "rows": step.rows,
                "bytes": step.bytes,
                "said": step.said,
            }
            for step in done.steps.done
        ],
        findings=[
            {"code": one.code, "severity": one.severity, "message": one.message, "remedy": one.remedy}
            for one in done.findings
        ],
        refused=[
            {"table": one.table, "key": list(one.key), "sqlstate": one.sqlstate, "place": one.place}
            for one in done.refused
        ],
        not_rehearsed=[step.name for step in done.steps.done if step.state == LEFT_OUT],
        triggers_disabled=done.triggers,
        left=list(done.left),
        next=next_command,
    )


def leftovers_words(found: Leftovers) -> Words:
    """What was removed of killed rehearsals, and what was not."""
    for name in found.removed:
        yield f"removed what a killed rehearsal left: {name}"
    for one in found.left:
        yield f"LEFT: {one}"


def leftovers_document(found: Leftovers) -> Document:
    """The same for `--json`."""
    return document(
        "rehearse", ok=not found.left, removed=list(found.removed), left=list(found.left), next="botdata rehearse"
    )

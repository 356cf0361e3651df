"""The command `botdata demo`: the whole move on servers of its own and made-up data."""

from __future__ import annotations

import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from app.cli.commands.parity import parity_document, parity_words
from app.cli.options import AsJson, GivenOptions
from app.cli.progress import progress
from app.cli.render import document, say, say_words, show
from app.cli.running import run_async

if TYPE_CHECKING:
    from app.embedded import EmbeddedPostgres
    from app.migration.runs.report import CopyReport, VerifyReport
    from app.migration.sources.source import Source
    from app.parity.comparison import Comparison
    from app.settings import Settings

_NEXT = """\
Next, for your own project:
  1. put SUPABASE_URL, SUPABASE_KEY (the service key) and DATABASE_URL into .env
  2. botdata preflight        look at both ends, and write nothing
  3. botdata migrate          upgrade, copy and verify; add --with-baileys for a WhatsApp session in Supabase
  4. botdata parity           compare the answers of both stores
  5. stop the bot; botdata sync --until-clean, for what has changed since; botdata verify
  6. USE_REPOSITORY_PATTERN=true, and start the bot again"""


def demo(as_json: AsJson = False) -> None:
    """Watch the whole move of a made-up salon. From a Supabase-compatible server to an embedded PostgreSQL.

    Example: botdata demo
    """
    from app.embedded import EmbeddedPostgres, SupabaseLite

    began = monotonic()
    say("Starting an embedded PostgreSQL and a Supabase-compatible server (the first run installs the server)")
    SupabaseLite.install()
    with tempfile.TemporaryDirectory(prefix="botdata-demo-") as directory, EmbeddedPostgres.start() as postgres:
        made = _make_salon(postgres)
        say(f"Supabase: a made-up salon, {sum(made.values()):,} rows in {len(made)} tables")
        with SupabaseLite.start(postgres, "supabase", Path(directory)) as supabase:
            well, reports = _move(_settings(supabase.url, supabase.service_key, postgres.url("salon")), made)
    seconds = monotonic() - began
    say(f"The whole demo took {seconds:.1f} s")
    say()
    found = document("demo", ok=well, seconds=round(seconds, 3), **reports, next="botdata preflight")
    words = _NEXT.splitlines() if well else ["The demo did NOT hold what it promises; see above"]
    show(found, words, as_json, beside=True)


def _make_salon(postgres: EmbeddedPostgres) -> dict[str, int]:
    """The database under Supabase, with the salon in it, and an empty one for the move."""
    from app.embedded import prepare_supabase_roles
    from app.embedded.salon import fill_salon
    from app.schema import revisions

    for database in ("supabase", "salon"):
        postgres.create_database(database)
    revisions.upgrade(postgres.url("supabase"))
    prepare_supabase_roles(postgres.url("supabase"))
    return fill_salon(postgres.url("supabase"))


def _settings(supabase_url: str, supabase_key: str, database_url: str) -> Settings:
    from pydantic import SecretStr

    from app.settings import Settings

    return Settings.model_construct(
        supabase_url=supabase_url, supabase_key=SecretStr(supabase_key), database_url=SecretStr(database_url)
    )


def _move(settings: Settings, made: dict[str, int]) -> tuple[bool, dict[str, Any]]:
    """Upgrade, copy, verify, compare the answers and flip the flag; whether all of it held, and the reports."""
    from app.cli.reports.copy_report import copy_document, copy_words
    from app.cli.reports.verify_report import verify_document, verify_words
    from app.schema import revisions

    given = GivenOptions("demo")
    done = revisions.upgrade(settings.require_database_url())
    say(f"alembic upgrade head: schema at {done.after}")
    say()
    copied, verified, comparison = run_async(_copy_verify_compare(settings))
    reports = {
        "copy": copy_document(copied, given),
        "verify": verify_document(verified, given),
        "parity": parity_document(comparison),
    }
    say_words(copy_words(copied, reports["copy"], given))
    say()
    say_words(verify_words(verified, reports["verify"], given))
    say()
    say_words(parity_words(reports["parity"]))
    say(
        f"methods: {len(comparison.methods)} of 21 compared, {'all equal' if comparison.all_equal else 'NOT all equal'}"
    )
    say()
    flipped = run_async(_flip(settings))
    whole = {table.table: table.target_rows for table in verified.tables if table.target_rows} == made
    all_methods = comparison.all_equal and len(comparison.methods) == 21
    file = _write_report(settings)
    well = copied.complete and verified.clean and whole and all_methods and flipped
    return well, {**reports, "report": str(file)}


async def _copy_verify_compare(settings: Settings) -> tuple[CopyReport, VerifyReport, Comparison]:
    from app.migration.copy.copier import copy
    from app.migration.tables.metadata import select_tables
    from app.migration.verify.verifier import verify
    from app.models import Base
    from app.parity.check import check_parity

    target = settings.require_database_url()
    tables = select_tables(Base.metadata)
    async with _open_source(settings) as source:
        with progress("copy") as bars:
            copied = await copy(source, target, tables, bars)
        with progress("verify") as bars:
            verified = await verify(source, target, tables, bars)
    return copied, verified, await check_parity(settings, size=40, writes=True)


def _open_source(settings: Settings) -> AbstractAsyncContextManager[Source]:
    from app.migration.sources.opening import Supabase, open_source

    return open_source(Supabase(*settings.require_supabase()), step="demo")


def _write_report(settings: Settings) -> Path:
    """The report of the demo's move, in the working directory."""
    from app.cli.commands.report.command import spoken_here, write_report
    from app.migration.tables.metadata import select_tables
    from app.models import Base
    from app.report.making import make_report

    async def make() -> dict[str, Any]:
        with progress("report") as bars:
            async with _open_source(settings) as source:
                tables = select_tables(Base.metadata)
                return await make_report(settings.require_database_url(), source, tables, bars)

    file = Path("botdata-demo-report.html").absolute()
    write_report(run_async(make()), file, spoken_here())
    say(f"report: {file}")
    say()
    return file


async def _flip(settings: Settings) -> bool:
    """Ask the bot's question before and after the flag is flipped; whether the answers are the same row."""
    from app.data_layer import open_data_layer

    answers = []
    for use_postgresql in (False, True):
        flipped = settings.model_copy(update={"use_repository_pattern": use_postgresql})
        async with open_data_layer(flipped) as data:
            services = await data.get_services(962302)
        store = "PostgreSQL" if use_postgresql else "Supabase"
        count = len(services.data or [])
        say(f"USE_REPOSITORY_PATTERN={str(use_postgresql).lower():<5}  {store} answers now: {count} services")
        answers.append(services.data)
    return bool(answers[0]) and answers[0] == answers[1]

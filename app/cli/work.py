"""What the commands of the move work on: tables, source and target, chosen by options that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from app.cli.options import GivenOptions, again, names_in, rate_of
from app.cli.project import read_project, refuse_other_schema
from app.cli.running import carry_out, load_settings
from app.common.schemas import address_in, schema_in, trouble_with_name
from app.errors import MigrationError, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from app.migration.sources.pace import Pace
    from app.migration.sources.source import Progress, Source
    from app.notify.steps import StepEnd
    from app.settings import Settings

_Answer = TypeVar("_Answer")

_SUPABASE = "supabase"
_PAUSED = ("copy", "migrate", "sync", "verify")  # by `botdata pause`


@dataclass(frozen=True)
class Work:
    """What a command works on, checked before anything is read or written.

    Attributes:
        command: the command's name, such as "copy" or "schema replace".
        target: the URL of the target; empty where none is set, and the command does without.
        source_url: the URL of the source's PostgreSQL; None: Supabase over REST.
        given: the options to be repeated in the next command.
        pace: how much may be asked of the source.
        revisions: the `alembic.ini` of the project's own revisions, where it names them.
    """

    command: str
    settings: Settings
    metadata: MetaData
    target: str
    source_url: str | None
    tables: list[Table]
    given: GivenOptions
    pace: Pace
    revisions: Path | None = None

    @classmethod
    def prepare(
        cls,
        command: str,
        tables: str | None = None,
        with_baileys: bool = False,
        key_role_ok: bool = False,
        source: str | None = None,
        metadata: str | None = None,
        source_schema: str | None = None,
        check_key: bool = True,
        needs_target: bool = True,
        needs_source: bool = True,
        checks: Sequence[str] = (),
        own: Sequence[str] = (),
        max_rate: str | None = None,
    ) -> Work:
        """Read the settings, choose the tables and the source, and check its address and (`check_key`) its key.

        Args:
            needs_target: DATABASE_URL has to be set.
            needs_source: the source is opened; its address and key are not asked for otherwise.
            checks, own: of the options to be repeated, see `GivenOptions`.
        """
        from app.migration.sources.pace import Pace
        from app.migration.tables.metadata import load_metadata, select_tables

        pace = Pace(rate_of(max_rate))
        settings = load_settings()
        project = read_project()
        models = metadata or project.metadata
        if models is not None:
            refuse_other_schema(command, " with another project's models (--metadata)")
        described = load_metadata(models)
        is_required = needs_target or settings.database_url is not None
        source_url = None
        if needs_source:
            source_url = _source_url(settings, source, key_role_ok if check_key else None, command, is_required)
            source_url = _in_schema(source_url, source_schema)
        target = settings.require_database_url() if is_required else ""
        groups = None if models else {"business", "baileys"} if with_baileys else {"business"}
        names = None if tables is None else names_in(tables)
        chosen_by = again(tables=None if names is None else ",".join(names), with_baileys=with_baileys)
        if names is not None and with_baileys:
            names += [name for name, table in described.tables.items() if table.info.get("group") == "baileys"]
        read_from = again(
            source=None if source is None else shown_source(source),
            source_schema=source_schema,
            metadata=metadata,
            key_role_ok=key_role_ok and source_url is None,
        )
        try:
            chosen = select_tables(described, names=names, groups=groups)
        except MigrationError as error:
            raise typer.BadParameter(error.message, param_hint="--tables") from None
        if needs_source and target:
            refuse_source_as_target(settings, target, source_url)
        own = (*own, *again(max_rate=max_rate))
        given = GivenOptions(command, tuple(chosen_by), tuple(read_from), tuple(checks), own, models is not None)
        revisions = None if metadata else project.revisions
        return cls(command, settings, described, target, source_url, chosen, given, pace, revisions)

    def require_stream(self, option: str) -> None:
        """Refuse a source over REST for what works on a change stream, on behalf of an option."""
        if self.source_url is None:
            raise typer.BadParameter("a change stream needs --source postgresql://...", param_hint=option)

    def run(
        self,
        what: str,
        work: Callable[[Source, Progress], Awaitable[_Answer]],
        end_of: Callable[[_Answer], StepEnd] | None = None,
    ) -> _Answer:
        """Run work on the source in an event loop; its progress, called `what`, goes to standard error.

        Args:
            end_of: what is told of its end, where it is a step that people are told of.
        """

        async def connected() -> _Answer:
            async with self.working(what) as (source, bars):
                return await work(source, bars)

        return self.carry_out(connected, end_of)

    @asynccontextmanager
    async def working(self, what: str) -> AsyncIterator[tuple[Source, Progress]]:
        """The source, for as long as the context lasts, and the progress of what is done with it; a pause holds it."""
        from app.cli.progress import progress

        with progress(what) as bars:
            async with self.paced(bars.notice), self.open_source(bars.notice) as source:
                yield source, bars

    @asynccontextmanager
    async def paced(self, notice: Callable[[str], None]) -> AsyncIterator[None]:
        """For as long as the context lasts, the source is asked nothing while the target says that it is paused."""
        from app.migration.runs.kept_work import kept_pace

        if self.command.partition(" ")[0] not in _PAUSED:
            yield
            return
        async with kept_pace(self.pace, self.target, self.command, notice):
            yield

    def carry_out(
        self, work: Callable[[], Coroutine[Any, Any, _Answer]], end_of: Callable[[_Answer], StepEnd] | None = None
    ) -> _Answer:
        """Run work in an event loop; the next commands of its errors get their options. `end_of` as for `run`."""
        if end_of is None:
            return carry_out(work(), self.given)
        from app.notify.steps import Step, tell_step

        step, ended = Step(self.command, self._source_label(), self._next_of, self.given.own), end_of
        return carry_out(tell_step(self.settings, step, work, ended), self.given)

    def _source_label(self) -> str | None:
        """The source's label; None where its address is none."""
        from app.stores.postgres.database_url import source_label

        try:
            return source_label(self.source_url or self.settings.supabase_url or "")
        except SettingsError:
            return None

    def _next_of(self, error: MigrationError) -> str | None:
        return self.given.text(error.next_step, step=error.step) if error.next_step is not None else None

    @asynccontextmanager
    async def open_source(self, notice: Callable[[str], None]) -> AsyncIterator[Source]:
        """The source, for as long as the context lasts."""
        from app.migration.sources.opening import Supabase, open_source
        from app.migration.target.target_session import explained

        self.pace.tell = notice
        place = self.source_url or Supabase(*self.settings.require_supabase())
        setting = "--source" if self.source_url else "SUPABASE_URL"
        async with AsyncExitStack() as opened:
            with explained(self.command, setting=setting, pending=f"all of {self.command}"):
                opening = open_source(place, notice, step=self.command, pace=self.pace)
                source = await opened.enter_async_context(opening)
            yield source


def refuse_source_as_target(settings: Settings, target: str, source_url: str | None = None) -> None:
    """Stop where the addresses say that both ends are one: a comparison would find no difference, and mean nothing.

    Args:
        source_url: the source's PostgreSQL; None: what the settings say.

    Raises:
        SettingsError: they are.
    """
    from app.stores.postgres.database_url import source_label

    named = settings.migration_source.get_secret_value() if settings.migration_source is not None else _SUPABASE
    source = source_url or (settings.supabase_url if named.strip().lower() == _SUPABASE else named)
    labels = set()
    with suppress(SettingsError):  # an address that is none is told by whoever opens it
        labels = {source_label(target), source_label(source or "")}
    if len(labels) == 1:
        raise SettingsError(
            f"DATABASE_URL is the source itself ({labels.pop()}); it is to name the database that the rows move to"
        )


def _source_url(
    settings: Settings, option: str | None, key_role_ok: bool | None, command: str, needs_target: bool
) -> str | None:
    """The URL of a PostgreSQL, or None for Supabase over REST, whose key is checked unless `key_role_ok` is None."""
    from app.migration.sources.rest.key_role import require_service_key
    from app.stores.postgres.database_url import sqlalchemy_url

    chosen = option
    if chosen is None and settings.migration_source is not None:
        chosen = settings.migration_source.get_secret_value()
    if chosen is not None and chosen.strip().lower() != _SUPABASE:
        sqlalchemy_url(chosen, name="--source")
        return chosen
    _, key = settings.require_stores()[1:] if needs_target else settings.require_supabase()
    if key_role_ok is not None:
        require_service_key(key, role_ok=key_role_ok, step=command)
    return None


def _in_schema(source_url: str | None, schema: str | None) -> str | None:
    """The source's address with the schema of --source-schema."""
    if schema is None:
        return source_url
    trouble = trouble_with_name(schema)
    if source_url is None and schema != "public":
        trouble = "is of a source over a database connection; Supabase's REST API is read in public"
    if source_url is not None and schema_in(source_url) not in {None, schema}:
        trouble = "is another one than the address names (schema=...)"
    if trouble is not None:
        raise typer.BadParameter(f"{schema} {trouble}", param_hint="--source-schema")
    if source_url is None or schema_in(source_url) is not None:
        return source_url
    return address_in(source_url, schema)


def shown_source(source: str) -> str:
    """The option as it can be repeated in a message: without a password."""
    from app.stores.postgres.database_url import sqlalchemy_url

    if source.strip().lower() == _SUPABASE:
        return _SUPABASE
    shown = sqlalchemy_url(source, name="--source").set(drivername="postgresql").render_as_string(hide_password=True)
    schema = schema_in(source)
    return shown if schema is None else address_in(shown, schema)

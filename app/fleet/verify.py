"""`botdata fleet verify`: each salon's rows compared with those of its own source, which a file names."""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator
from sqlalchemy import Table

from app.common.schemas import address_in, schema_in, trouble_with_name
from app.cutover.stages import Stage
from app.errors import SettingsError
from app.fleet.chosen_salons import address_of
from app.fleet.outcome import Outcome, SalonResult, away
from app.migration.runs.kept_work import kept_pace
from app.migration.runs.report import VerifyReport
from app.migration.sources.opening import Supabase, open_source
from app.migration.sources.pace import MaxRate, Pace
from app.migration.sources.rest.key_role import require_service_key
from app.migration.sources.source import Progress
from app.migration.tables.copy_table import name_of
from app.migration.target.foreign_keys import unproved_keys
from app.migration.target.materialized_views import dependent_views
from app.migration.target.target_session import explained
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify
from app.next_step import Command, NextStep
from app.state.fleet.salons import Salon, read_standing
from app.state.runs.verifications import equal_since
from app.state.tool_schema import may_read
from app.stores.postgres.database_url import source_label, sqlalchemy_url

_OF_OTHERS = 0o077


class _Given(BaseModel):
    """What the file says of a salon."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    supabase_url: str | None = None
    supabase_key: SecretStr | None = None
    source: SecretStr | None = None
    source_schema: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "_Given":
        over_rest = self.supabase_url is not None and self.supabase_key is not None
        if (self.source is not None) == over_rest or (over_rest is False and (self.supabase_url or self.supabase_key)):
            raise ValueError("give either source, or supabase_url and supabase_key")
        if self.source_schema is not None:
            if self.source is None:
                raise ValueError("source_schema is of a source over a database connection")
            if (trouble := trouble_with_name(self.source_schema)) is not None:
                raise ValueError(f"source_schema {trouble}")
        return self


class SalonSource:
    """Where a salon's rows come from."""

    def __init__(self, given: _Given, name: str) -> None:
        self._given = given
        self._name = name

    @property
    def label(self) -> str:
        """By which name the target remembers it."""
        place = self.opened_by(checks=False)
        return source_label(place if isinstance(place, str) else place.url)

    def opened_by(self, *, checks: bool = True) -> Supabase | str:
        """The URL of a PostgreSQL, or a Supabase over REST.

        Args:
            checks: the key is to be one that sees every row.

        Raises:
            SettingsError: not a PostgreSQL URL.
            MigrationError: the key is none that sees every row.
        """
        if self._given.source is not None:
            url = self._given.source.get_secret_value()
            sqlalchemy_url(url, name=f"source of {self._name}")
            schema = self._given.source_schema
            if schema is None or schema_in(url) == schema:
                return url
            return address_in(url, schema)
        assert self._given.supabase_url is not None
        assert self._given.supabase_key is not None
        key = self._given.supabase_key.get_secret_value()
        if checks:
            require_service_key(key, role_ok=False, step="verify")
        return Supabase(self._given.supabase_url, key)


def read_sources(file: Path) -> dict[str, SalonSource]:
    """Each salon's source, by the name of its schema.

    Raises:
        SettingsError: the file cannot be read, may be read by others, or says something else than it should; what it
            says is not repeated.
    """
    try:
        with file.open("rb") as opened:
            if os.name == "posix" and os.fstat(opened.fileno()).st_mode & _OF_OTHERS:
                raise SettingsError(f"{file} holds keys, and others may read or write it; chmod 600 {file}")
            tables = tomllib.load(opened)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not a UTF-8 text file") from None
    sources = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{file}: {name} stands outside of a table; each salon has one, such as [t1]")
        try:
            sources[name] = SalonSource(_Given.model_validate(table), name)
        except ValidationError as error:
            raise SettingsError(f"{file}: [{name}]: {'; '.join(_explain(error))}") from None
    return sources


def _explain(error: ValidationError) -> list[str]:
    said = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        said.append(f"{field}: {message}" if field else message)
    return said


STEP = "fleet verify"
_AGAIN = NextStep(Command("verify"), ", with the salon's source, shows the rows")


@dataclass(frozen=True, slots=True)
class Verifications:
    """The work on each of them.

    Attributes:
        url: of the database.
        sources: by the salon's name.
        since: a salon that was verified equal to the same source since then is passed over.
        max_rate: how much is read of each source.
        progress_of: gives the progress of a salon of this name.
    """

    url: str
    sources: Mapping[str, SalonSource]
    tables: Sequence[Table]
    since: datetime | None
    max_rate: MaxRate | None
    progress_of: Callable[[str], Progress]

    async def compare(self, connection: AsyncConnection, salon: Salon) -> Outcome:
        """One salon.

        Raises:
            MigrationError: one of its two sides cannot be read.
        """
        standing = await read_standing(connection, salon)
        if (gone := away(salon.name, standing)) is not None:
            return gone
        source = self.sources.get(salon.name)
        if source is None:
            if standing.stage == Stage.COMPLETE:
                why = "it stands at complete, and the file names no source for it: nothing to compare with"
                return Outcome(salon.name, SalonResult.NOT_COMPARED, standing, why)
            why, then = "the file names no source for it", NextStep("add it to the file, then: ", Command(STEP))
            return Outcome(salon.name, SalonResult.NO_SOURCE, standing, why, then)
        target = address_of(self.url, salon.name)
        if source.label == source_label(target):
            then = NextStep("correct it in the file, then: ", Command(STEP))
            return Outcome(
                salon.name, SalonResult.NO_SOURCE, standing, "the file names the salon as its own source", then
            )
        if self.since is not None and await self._is_equal_since(connection, source.label, self.since):
            why = f"all tables, since {self.since:%Y-%m-%dT%H:%M:%SZ}"
            return Outcome(salon.name, SalonResult.EQUAL_SINCE, standing, why)
        progress, pace = self.progress_of(salon.name), Pace(self.max_rate)
        pace.tell = progress.notice
        async with kept_pace(pace, target, "verify", progress.notice), AsyncExitStack() as opened:
            with explained("verify", setting="--sources", pending="everything; nothing was compared"):
                place = source.opened_by()
                opening = open_source(place, progress.notice, step="verify", pace=pace)
                opened_source = await opened.enter_async_context(opening)
            report = await verify(opened_source, target, self.tables, progress, VerifyOptions())
        if report.clean:
            rows = sum(table.source_rows for table in report.tables)
            return Outcome(salon.name, SalonResult.EQUAL, standing, f"{rows:,} rows")
        return Outcome(salon.name, SalonResult.DIFFERS, standing, "; ".join(_differing(report)), _AGAIN)

    async def _is_equal_since(self, connection: AsyncConnection, source: str, since: datetime) -> bool:
        names = [name_of(table) for table in self.tables]
        return (
            await may_read(connection, "verifications")
            and await equal_since(connection, source, names, since)
            and not await unproved_keys(connection)
            and not await dependent_views(connection, self.tables)  # whether they are stale, a verify alone says
        )


def _differing(report: VerifyReport) -> list[str]:
    said = [
        f"{table.table}: {table.missing:,} missing, {table.extra:,} extra, {table.different:,} different"
        + ("; counts differ" if not table.counts_agree else "")
        for table in report.tables
        if not table.clean
    ]
    said += [f"{one.table} cannot be compared: {one.why}" for one in report.not_moved]
    said += [f"{one.name}: {one.why}" for one in report.not_usable]
    said += [f"foreign key {name} is not proved" for name in report.unproved]
    return said

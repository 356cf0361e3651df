"""The file that names each salon's source: TOML, a table a salon. It holds keys, so that others may not read it."""

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from app.common.schemas import address_in, schema_in, trouble_with_name
from app.errors import SettingsError
from app.migration.preflight.opening import Supabase
from app.migration.sources.rest.key_role import require_service_key
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
        place = self.opened_by("verify", checks=False)
        return source_label(place if isinstance(place, str) else place.url)

    def opened_by(self, step: str, *, checks: bool = True) -> Supabase | str:
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
            require_service_key(key, role_ok=False, step=step)
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

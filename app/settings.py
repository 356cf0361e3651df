"""The environment and `.env`, read once when asked for, into one frozen object."""

import shlex
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.common.schemas import address_in, schema_in, trouble_with_target
from app.errors import SettingsError
from app.flags import STAGE_CHOICES, Flags

_YES = {"true", "1", "yes", "on"}
_NO = {"false", "0", "no", "off"}


def _clear_yes_or_no(value: object) -> object:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError("must be a clear yes (true, 1, yes, on) or no (false, 0, no, off)")


def _blank_is_unset(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _stage(value: object) -> object:
    word = str(value).strip().lower()
    if not word or value is None:
        return None
    if word not in STAGE_CHOICES:
        raise ValueError(f"must be one of {', '.join(STAGE_CHOICES)}")
    return word


_HERE = {"localhost", "127.0.0.1", "::1"}


def _webhook(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    text = value.get_secret_value()
    try:
        url = urlsplit(text)
        fits = url.scheme == "https" or (url.scheme == "http" and url.hostname in _HERE)
        fits = fits and bool(url.hostname) and url.port != 0 and "@" not in url.netloc
    except ValueError:  # its message repeats parts of the address
        fits = False
    if not fits or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be https://..., or http:// to localhost, without a user or a password before the host")
    return value


def _command(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        try:
            words = shlex.split(value.get_secret_value())
        except ValueError:
            raise ValueError("must be a program and its arguments; a quotation mark is not closed") from None
        if not words or not words[0]:
            raise ValueError("must begin with a program")
    return value


def _target_schema(value: str | None) -> str | None:
    if value not in {None, "public"} and (trouble := trouble_with_target(value)) is not None:
        raise ValueError(trouble)
    return value


YesNo = Annotated[bool, BeforeValidator(_clear_yes_or_no)]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_unset)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_is_unset)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What the environment says. Field names in capitals are the variables' names.

    Timeouts are in seconds. Secrets print as asterisks.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    supabase_url: OptionalText = Field(None, description="https://PROJECT.supabase.co")
    supabase_key: OptionalSecret = Field(None, description="the service key: sb_secret_... or a service_role JWT")
    database_url: OptionalSecret = Field(
        None, description="postgresql://user:password@host:5432/database; several hosts: host1:5432,host2:5432"
    )
    database_schema: Annotated[str | None, BeforeValidator(_blank_is_unset), AfterValidator(_target_schema)] = Field(
        None, description="the schema of DATABASE_URL's database that holds the tables; unset: public"
    )
    database_read_url: OptionalSecret = Field(
        None, description="standbys that answer the bot's reads, one or several hosts: docs/scale-out.md"
    )

    migration_source: OptionalSecret = Field(
        None, description="where rows are moved from: supabase (SUPABASE_URL), or postgresql://...; --source wins"
    )

    use_repository_pattern: YesNo = Field(False, description="PostgreSQL answers the bot instead of Supabase")
    use_legacy_supabase: YesNo = Field(True, description="false: no Supabase connection is ever opened")
    log_database_calls: YesNo = Field(False, description="log each call with its time")

    cutover_stage: Annotated[str | None, BeforeValidator(_stage)] = Field(
        None, description="where the cutover stands: a stage's name, or database, to follow the row in the target"
    )
    cutover_hold: Seconds = Field(3.0, le=60, description="seconds that a move of the authority may hold writes")
    cutover_spool: Path = Field(
        Path("~/.local/state/botdata/spool"), description="directory for notes of writes while PostgreSQL is away"
    )
    cutover_id_gap: int = Field(
        1_000_000, ge=1, description="ids that the target's sequences leave to the source before live"
    )
    mirror_wait: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="seconds that an answer waits for its mirror at most"
    )
    mirror_timeout: Seconds = Field(10.0, description="seconds for one try of a mirror, or of one of its requests")
    mirror_connections: int = Field(
        6, ge=3, le=100, description="connections to PostgreSQL for mirrors, comparisons and reports, beside the pool"
    )
    note_timeout: Seconds = Field(0.5, description="seconds to note a key in PostgreSQL before it goes to the spool")
    outcome_settles_after: Seconds = Field(
        60.0, description="seconds after which a write of unknown outcome no longer lands"
    )
    compare_sampling: float = Field(1.0, ge=0, le=1, description="share of the reads that are compared")
    compare_at_once: int = Field(4, ge=1, description="comparisons that run at a time; more are skipped")
    compare_deadline: Seconds = Field(5.0, description="seconds for one comparison")
    compare_values: YesNo = Field(False, description="keep the values that differ, not only their types and hashes")
    compare_with_itself: YesNo = Field(False, description="compare the authority with itself: the noise floor")
    close_timeout: Seconds = Field(5.0, description="seconds that close() waits for mirrors and comparisons")

    notify_url: Annotated[OptionalSecret, AfterValidator(_webhook)] = Field(
        None, description="a webhook that is told what happens: docs/notifications.md"
    )
    notify_command: Annotated[OptionalSecret, AfterValidator(_command)] = Field(
        None, description="a program that is started for each event, without a shell"
    )
    notify_waiting: int = Field(
        1000, ge=1, description="entries of the outbox, or notes of the journal, past which it is told"
    )
    notify_age: Seconds = Field(300.0, description="seconds that the oldest of them may wait until it is told")
    notify_lag: Seconds = Field(300.0, description="seconds since an unfinished sync last looked at the source")
    notify_silence: float = Field(
        30.0, ge=5, allow_inf_nan=False, description="seconds without a report after which a process is told as silent"
    )
    watch_metrics_token: OptionalSecret = Field(
        None, description="the bearer token for botdata watch's /metrics; without one there is none"
    )

    database_pool_size: int = Field(10, ge=1, le=1000, description="connections that a bot process keeps at most")
    query_timeout: Seconds = Field(30.0, description="seconds until a call is answered with an error")
    health_check_timeout: Seconds = Field(5.0, description="seconds until health_check() answers")
    validate_input: YesNo = Field(True, description="check that identifiers are positive and that names are given")
    default_limit: int = Field(100, ge=1, description="rows of a limited list when no limit is given")
    max_limit: int = Field(1000, ge=1, description="a larger limit is lowered to this")
    max_batch_size: int = Field(500, ge=1, description="rows in one bulk write at most")
    default_phone_region: str = Field("RU", pattern="^[A-Z]{2}$", description="region of numbers without a code")
    default_timezone: str = Field("Europe/Moscow", description="time zone of a company that names none")
    lock_timeout: Seconds = Field(5.0, description="seconds that a schema upgrade waits for a lock")
    statement_timeout: Seconds = Field(300.0, description="seconds for one statement of a schema upgrade")

    @property
    def flags(self) -> Flags:
        """The switches between the two backends, checked against each other."""
        given = "use_repository_pattern" in self.model_fields_set
        return Flags.of(
            use_repository_pattern=self.use_repository_pattern if given else None,
            cutover_stage=self.cutover_stage,
            use_legacy_supabase=self.use_legacy_supabase,
            log_database_calls=self.log_database_calls,
        )

    def secrets(self, *addresses: str) -> list[str]:
        """All values that are secrets, and the passwords in addresses among them, the longest first.

        Args:
            addresses: others than those of the settings.
        """
        values = [value.get_secret_value().strip() for _, value in self if isinstance(value, SecretStr)]
        found = {value for value in (*values, *addresses) if value.lower() != "supabase"}  # a source, and no secret
        for value in list(found):
            if "://" in value:
                password = value.partition("://")[2].rpartition("@")[0].partition(":")[2]
                found |= {password, unquote(password)}
        return sorted(filter(None, found), key=len, reverse=True)

    def require_database_url(self) -> str:
        """DATABASE_URL with the schema in it; SettingsError when it is not set, or names another schema."""
        return self._with_schema(self._required("database_url")[0])

    def require_supabase(self) -> tuple[str, str]:
        """SUPABASE_URL and SUPABASE_KEY; SettingsError when one is not set or Supabase is switched off."""
        self._refuse_switched_off()
        url, key = self._required("supabase_url", "supabase_key")
        return url, key

    def require_stores(self) -> tuple[str, str, str]:
        """DATABASE_URL, SUPABASE_URL and SUPABASE_KEY; errors as in `require_supabase`, of all three at once."""
        self._refuse_switched_off()
        target, url, key = self._required("database_url", "supabase_url", "supabase_key")
        return self._with_schema(target), url, key

    def read_url(self) -> str | None:
        """DATABASE_READ_URL with the schema of DATABASE_URL in it; errors as in `require_database_url`."""
        if self.database_read_url is None:
            return None
        return self._with_schema(self.database_read_url.get_secret_value(), "DATABASE_READ_URL")

    @property
    def schema_of_target(self) -> str:
        """What DATABASE_SCHEMA says, else the parameter `schema` of DATABASE_URL; else `public`."""
        address = "" if self.database_url is None else self.database_url.get_secret_value()
        return self.database_schema or schema_in(address) or "public"

    def _with_schema(self, address: str, name: str = "DATABASE_URL") -> str:
        """An address says by its parameter `schema` where the tables are, so that all who have it know."""
        schema, named = self.schema_of_target, schema_in(address)
        if named not in {None, schema}:
            raise SettingsError(f"{name} (schema=...) and DATABASE_SCHEMA name two schemas; take one of them away")
        if schema != "public" and (trouble := trouble_with_target(schema)) is not None:
            raise SettingsError(f"{name} asks for a schema (schema=...) that {trouble}")
        if schema in {named, "public"}:
            return address
        return address_in(address, schema)

    def _refuse_switched_off(self) -> None:
        if not self.use_legacy_supabase:
            raise SettingsError("USE_LEGACY_SUPABASE is false: no connection to Supabase may be opened")

    def _required(self, *names: str) -> list[str]:
        values = [getattr(self, name) for name in names]
        missing = [name for name, value in zip(names, values, strict=True) if value is None]
        if missing:
            *others, last = map(str.upper, missing)
            told = f"{', '.join(others)} and {last}" if others else last
            are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
            examples = " ".join(f"{name.upper()}={_EXAMPLES[name]}" for name in missing)
            raise SettingsError(f"{told} {are} not set; put {them} into the environment or into .env: {examples}")
        return [value.get_secret_value() if isinstance(value, SecretStr) else value for value in values]


_EXAMPLES = {
    "database_url": "postgresql://user:password@host:5432/database",
    "supabase_url": "https://PROJECT.supabase.co",
    "supabase_key": "sb_secret_... (the project's service key)",
}

_FLAGS = ("cutover_stage", "use_repository_pattern", "use_legacy_supabase", "log_database_calls", "validate_input")


def load_settings(env_file: Path | str | None = ".env") -> Settings:
    """Read the environment and `env_file`, the environment first.

    Raises:
        SettingsError: a value is not what its variable takes (names the variable, and a flag's value), or the file
            is there and cannot be read.
    """
    try:
        if env_file is not None and Path(env_file).is_dir():
            raise SettingsError(f"{env_file} cannot be read: it is a directory")
        settings = Settings(_env_file=env_file)
        settings.flags  # noqa: B018 - contradictions are an error at start, not at first use
    except ValidationError as error:
        raise SettingsError("; ".join(explain(error))) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{env_file} is not a UTF-8 text file") from None
    except OSError as error:
        raise SettingsError(f"{env_file} cannot be read: {error.strerror}") from error
    return settings


def explain(error: ValidationError) -> list[str]:
    """What is wrong with the settings, a sentence for each; the values of secrets are not in it."""
    sentences = []
    for problem in error.errors(include_url=False, include_context=False):
        field = str(problem["loc"][0])
        given = f" is {problem['input']!r}: it" if field in _FLAGS else ""
        message = problem["msg"].removeprefix("Value error, ")
        sentences.append(f"{field.upper()}{given or ':'} {message[0].lower()}{message[1:]}")
    return sentences

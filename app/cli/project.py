"""Whose tables a command works on, by the working directory's pyproject.toml; and which commands refuse others."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.errors import MigrationError, SettingsError
from app.next_step import Command, NextStep

# They know the bot's tables, and no others.
OF_THE_BOT_ALONE = ("cutover", "fleet", "mirror", "parity", "schema")
_FILE = Path("pyproject.toml")
_TEXTS = ("metadata", "alembic")


@dataclass(frozen=True, slots=True)
class Project:
    """A project's own models and revisions.

    Attributes:
        metadata: its models, as `--metadata` names them; None: the bot's.
        revisions: the `alembic.ini` of its revisions.
    """

    metadata: str | None = None
    revisions: Path | None = None


def read_project() -> Project:
    """The project in the working directory; one without names where the file, or the table in it, is not there.

    Raises:
        SettingsError: the file cannot be read, or the table holds something else than it should.
    """
    import tomllib

    try:
        table = tomllib.loads(_FILE.read_text("utf-8")).get("tool", {}).get("botdata")
    except FileNotFoundError:
        return Project()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{_FILE} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if table is None:
        return Project()
    for name in _TEXTS:
        if not isinstance(table.get(name, ""), str):
            raise SettingsError(f"{_FILE}: {name} in [tool.botdata] is to be a text")
    configuration = table.get("alembic")
    return Project(table.get("metadata"), Path(configuration).absolute() if configuration else None)


def refuse_other_project(command: str) -> None:
    """Stop a command that works on the bot's tables alone, in another project's directory.

    Raises:
        MigrationError: the project names models of its own.
    """
    if read_project().metadata is not None:
        raise MigrationError(
            f"botdata {command} is for the bot's own tables, and {_FILE} here names another project's ([tool.botdata])",
            step=command,
            pending="everything; nothing was read or written",
            next_step=NextStep(
                Command("status"), ", and docs/any-project.md for what comes next; or change to the bot's directory"
            ),
        )


def models_of(metadata: str | None) -> str | None:
    """The models that a command works on: those of `--metadata`, else the project's, else None for the bot's."""
    return metadata or read_project().metadata


# They compare or rewrite what a database holds beside the rows, by the names that it has there.
OF_PUBLIC_ALONE = ("adopt",)


def refuse_other_schema(command: str, what: str = "") -> None:
    """Stop a command that works on `public` alone, or does so `what`, before it reads or writes anything.

    Raises:
        MigrationError: another schema is meant.
    """
    from app.settings import load_settings

    with suppress(SettingsError):  # which the command itself says
        schema = load_settings().schema_of_target
        if schema != "public":
            raise MigrationError(
                f"botdata {command}{what} works on the schema public alone, and DATABASE_SCHEMA is {schema}",
                step=command,
                pending="everything; nothing was read or written",
                next_step=NextStep(f"the same command without DATABASE_SCHEMA, if public is meant and not {schema}"),
            )

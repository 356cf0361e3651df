"""The schema revisions, for programs: upgrade, and where a database stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from app.common.schemas import Schemas
from app.errors import INSTALL_NEWER, MigrationError, error_for_sqlstate
from app.next_step import Command, NextStep
from app.schema.revision_files import scripts
from app.stores.postgres.database_url import schemas_of_url, sqlalchemy_url

# SQLSTATE of the errors that the revisions raise themselves; their message is written for a person.
REFUSED = "BD001"
# Key of the advisory lock that one upgrade at a time holds on its database.
UPGRADE_LOCK = int.from_bytes(b"alembic", "big")


@dataclass(frozen=True)
class Notice:
    """What the server, or a revision through it, said during an upgrade."""

    warning: bool
    text: str


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did: the revision before (None: an empty database) and after, and what was said."""

    before: str | None
    after: str | None
    notices: tuple[Notice, ...]


def alembic_config(database_url: str) -> Config:
    """Alembic's configuration for a database, without any file.

    Args:
        database_url: as in DATABASE_URL; its parameter `schema` says which schema is meant.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config


def named(statement: str) -> str:
    """A statement of a revision with the name of the schema that it is run for in place of DATA."""
    schemas: Schemas = context.config.attributes["schemas"]
    return schemas.named(statement)


def open_engine(database_url: str) -> Engine:
    """For `upgrade_with`: one connection, which is opened when it is needed, and again where it was lost."""
    return create_engine(
        sqlalchemy_url(database_url),
        pool_size=1,
        max_overflow=0,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "prepare_threshold": None},  # see alembic/env.py
    )


def upgrade_with(engine: Engine, database_url: str) -> Upgrade:
    """Upgrade one of many schemas of the engine's database to the newest revision, as `upgrade` does.

    Raises:
        MigrationError: likewise.
    """
    notices: list[Notice] = []
    with _reached(), engine.connect() as connection:
        with connection.begin():
            before = _current_on(connection, database_url)
        if before is not None:
            _refuse_to_go_down(before, "head")
        with connection.begin():
            upgrade_on(connection, database_url, notices)
        with connection.begin():
            return Upgrade(before, _current_on(connection, database_url), tuple(notices))


def upgrade(database_url: str, revision: str = "head") -> Upgrade:
    """Upgrade a database, in one transaction; nothing is changed when it fails.

    Raises:
        SettingsError: not a PostgreSQL URL.
        MigrationError: the server is not reached, or refuses, or the database is above the revision; says why.
    """
    config = alembic_config(database_url)
    notices = config.attributes["notices"] = []
    before = current(database_url)
    if before is not None:
        _refuse_to_go_down(before, revision)
    try:
        _run(config, revision)
    except MigrationError as error:
        cause = error.__cause__ and error.__cause__.__cause__
        is_unfit = isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) == REFUSED
        error.next_step = NextStep(Command("upgrade"))
        if is_unfit:  # as a revision itself found
            error.next_step = NextStep(Command("preflight"), ", which names what is in the way")
        raise
    return Upgrade(before, current(database_url), tuple(notices))


def _run(config: Config, revision: str) -> None:
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise MigrationError(
            str(error),
            step="upgrade",
            pending="the schema is as it was",
            next_step=NextStep("put right what it names, then run the same command again"),
        ) from error


def upgrade_on(connection: Connection, database_url: str, notices: list[Notice], revision: str = "head") -> None:
    """Upgrade inside the caller's transaction, which is the caller's to commit.

    Args:
        notices: takes what was said.
        revision: the newest one, or the name of another.

    Raises:
        MigrationError: the server refuses; the transaction is of no more use.
    """
    config = alembic_config(database_url)
    config.attributes.update(connection=connection, notices=notices)
    _run(config, revision)


def _refuse_to_go_down(before: str, revision: str) -> None:
    """Alembic would take an upgrade to an older revision for one that is done already."""
    script = ScriptDirectory(str(scripts()))
    try:
        script.get_revision(before)
    except CommandError as error:
        raise MigrationError(
            f"the database is at revision {before}, which this botdata does not know: it was made by a newer one",
            step="upgrade",
            pending="the schema is as it was",
            next_step=NextStep(INSTALL_NEWER),
        ) from error
    try:
        wanted = script.get_revision(revision)
    except CommandError:  # a relative one, or none: Alembic itself finds the words
        return
    name = wanted.revision if wanted else "base"
    below = {"base", *(older.revision for older in script.iterate_revisions(before, "base"))} - {before}
    if name in below:
        raise MigrationError(
            f"the database is at {before}, which is above {name}; to go down: alembic downgrade {name} (in a checkout)",
            step="upgrade",
            pending="the schema is as it was",
            next_step=NextStep(f"alembic downgrade {name}, in a checkout"),
        )


def current(database_url: str) -> str | None:
    """The revision that a database is at; None where no revision was ever applied.

    Raises:
        SettingsError: not a PostgreSQL URL.
        MigrationError: the server is not reached.
    """
    engine = create_engine(
        sqlalchemy_url(database_url),
        poolclass=NullPool,
        connect_args={"connect_timeout": 10, "prepare_threshold": None},  # see alembic/env.py
    )
    with _reached(), engine.connect() as connection:
        return _current_on(connection, database_url)


def _current_on(connection: Connection, database_url: str) -> str | None:
    options = {"version_table_schema": schemas_of_url(database_url).data}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


@contextmanager
def _reached() -> Iterator[None]:
    """Turn an error of the server into a MigrationError."""
    try:
        yield
    except DBAPIError as error:
        raise MigrationError(
            explain(error),
            step="upgrade",
            pending="the schema is as it was",
            next_step=NextStep("check DATABASE_URL, then: ", Command("upgrade")),
        ) from error


def head() -> str:
    """The newest revision there is."""
    revision = ScriptDirectory(str(scripts())).get_current_head()
    assert revision is not None
    return revision


def explain(error: DBAPIError) -> str:
    """A database error in one sentence, without values from rows."""
    original = error.orig
    if not isinstance(original, psycopg.Error):
        return "the database driver could not carry out a statement"
    if original.sqlstate is None:
        # libpq's own text names host, port, user and database. One with an "@" may show the end of a password
        # that held one unescaped, and was taken for the host.
        text = " ".join(str(original).split())
        return "PostgreSQL cannot be reached" + (f": {text}" if "@" not in text else "")
    message = original.diag.message_primary or ""
    if original.sqlstate == REFUSED:
        return message
    meaning = str(error_for_sqlstate(original.sqlstate))
    # Errors about values (classes 22 and 23) quote them.
    return meaning if original.sqlstate[:2] in {"22", "23"} else f"{meaning}: {message}"

"""Runs the revisions: all of an upgrade in one transaction, one upgrade at a time, with timeouts.

`config.attributes` may hold, from a program that runs Alembic:

- "database_url": str, in place of DATABASE_URL; its parameter `schema` says which schema is meant;
- "connection": a SQLAlchemy connection to run on. When it is in a transaction, that transaction is the caller's to
  commit, and the timeouts and search path set here last until its end;
- "notices": a list that takes what the server said on the way, as `app.schema.revisions.Notice`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.config import fileConfig
from typing import Any

import psycopg
from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from app.common.schemas import DATA, Schemas
from app.errors import SettingsError
from app.models import Base
from app.schema.revisions import UPGRADE_LOCK, Notice, explain
from app.settings import load_settings
from app.state.tool_schema import LEAVE_LOCAL
from app.stores.postgres.database_url import schemas_of_url, sqlalchemy_url

CONNECT_TIMEOUT = 10  # seconds

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)
logger = logging.getLogger("alembic.server")
# Not by IF NOT EXISTS, which asks for the right to make one where there is one.
MAKE_SCHEMA = f"""
DO $$ BEGIN
    IF to_regnamespace('{DATA}') IS NULL THEN
        CREATE SCHEMA {DATA};
    ELSIF to_regclass('{DATA}.alembic_version') IS NULL AND to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL THEN
        IF EXISTS (SELECT FROM pg_catalog.pg_dist_schema WHERE schemaid = to_regnamespace('{DATA}')) THEN
            RAISE EXCEPTION USING ERRCODE = 'BD001', MESSAGE =
                'schema {DATA} is distributed by Citus already; its tables are to be made and filled before that';
        END IF;
    END IF;
END $$
"""


def include_object(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Leave alone what the database has and the models have not, where that is the user's own.

    Their other tables are; and what a live Baileys table had when it was adopted.
    """
    if not reflected or compare_to is not None:
        return True
    if kind == "table":
        return False
    table = Base.metadata.tables[item.table.name]
    return table.info["group"] != "baileys"


def settle() -> None:
    """First statements of the transaction, offline too."""
    settings = load_settings()
    # Waiting for the other upgrade is bounded by the statement timeout; only what follows by the lock timeout.
    context.execute(f"SET LOCAL statement_timeout = {milliseconds(settings.statement_timeout)}")
    context.execute(f"SELECT pg_advisory_xact_lock({schemas.lock(UPGRADE_LOCK)})")
    context.execute(f"SET LOCAL lock_timeout = {milliseconds(settings.lock_timeout)}")
    if schemas.data != "public":
        context.execute(LEAVE_LOCAL)
        context.execute(schemas.named(MAKE_SCHEMA))
    context.execute(schemas.named(f"SET LOCAL search_path = {DATA}"))
    context.execute("SET LOCAL client_min_messages = notice")


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


@contextmanager
def heard_notices(connection: Connection) -> Iterator[None]:
    """Log what the server says meanwhile, and hand it to the program that runs Alembic."""
    kept: list[Notice] = config.attributes.get("notices", [])

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        notice = Notice(warning=diagnostic.severity_nonlocalized == "WARNING", text=diagnostic.message_primary or "")
        logger.log(logging.WARNING if notice.warning else logging.INFO, "%s", notice.text)
        kept.append(notice)

    driver_connection: Any = connection.connection.driver_connection
    driver_connection.add_notice_handler(hear)
    try:
        yield
    finally:
        driver_connection.remove_notice_handler(hear)


def run_on(connection: Connection) -> None:
    # The tables are in this schema, whatever search path the role has.
    connection.dialect.default_schema_name = schemas.data
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        compare_type=True,
        compare_server_default=True,
    )
    with heard_notices(connection), context.begin_transaction():
        settle()
        context.run_migrations()


def run_online() -> None:
    shared: Connection | None = config.attributes.get("connection")
    if shared is not None:
        run_on(shared)
        return
    engine = create_engine(
        sqlalchemy_url(address or load_settings().require_database_url()),
        poolclass=NullPool,
        # The revision that is read after waiting for another upgrade must be the one that it left.
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        # Poolers lose prepared statements, and nothing here runs twice.
        connect_args={"connect_timeout": CONNECT_TIMEOUT, "prepare_threshold": None},
    )
    with engine.connect() as connection:
        run_on(connection)


def run_offline() -> None:
    context.configure(
        url="postgresql+psycopg://",
        target_metadata=Base.metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        settle()
        context.run_migrations()


try:
    given = load_settings()
    address = config.attributes.get("database_url") or (given.database_url and given.require_database_url())
    schemas = schemas_of_url(address) if address else Schemas(given.database_schema or "public")
    config.attributes["schemas"] = schemas
    if context.is_offline_mode():
        run_offline()
    else:
        run_online()
except SettingsError as error:
    raise CommandError(str(error)) from error
except DBAPIError as error:
    raise CommandError(explain(error)) from error

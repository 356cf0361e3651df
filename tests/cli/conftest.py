"""A Supabase project with every kind of item, and its inventories."""

import uuid
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.engine import make_url

from tests.cli import supabase_project as project
from tests.cli.command import Command
from tests.cli.inventories import Inventories, Project
from tests.migration.engine import execute
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def supabase(separate_server: PostgresServer) -> Iterator[Project]:
    url, role = separate_server.create_database(), f"botdata_test_{uuid.uuid4().hex[:8]}"
    made = [role, f"{role}_app"]
    with psycopg.connect(url, autocommit=True) as connection:
        for name in project.ROLES:
            with suppress(errors.DuplicateObject, errors.UniqueViolation):  # of another database of a shared server
                connection.execute(f"CREATE ROLE {name}")
                made.append(name)
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; CREATE ROLE {role}_app")
        connection.execute(f"ALTER ROLE {role}_app SET search_path = 'planted-secret'")
        database = make_url(url).database
        connection.execute(f"ALTER DATABASE {database} SET app.token = 'planted-secret'")
        connection.execute(f"ALTER DATABASE {database} SET app.settings.jwt_secret = 'planted-secret'")
        parts = (project.SERVICES, project.APPLICATION, project.BESIDE, project.UNKNOWN)
        for statements in (*parts, project.CATALOG_ROWS, project.SUBSCRIPTION):
            connection.execute(statements)
    blind = make_url(url).set(username=role, password="x").render_as_string(hide_password=False)
    yield Project(url, blind, role)
    execute(url, "DROP SUBSCRIPTION other")
    separate_server.drop_database(url)
    with psycopg.connect(separate_server.admin_url, autocommit=True) as connection:
        for name in reversed(made):
            with suppress(errors.DependentObjectsStillExist):
                connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def inventories(command: Command, fresh_database: str) -> Inventories:
    return Inventories(command, fresh_database)

"""Targets in schemas of other names than public."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.engine import make_url

from app.migration.target.target_session import open_target
from app.schema import revisions
from app.state.tool_schema import ensure_tool_schema
from tests.support.postgres import PostgresServer

NAMES = ("t1", "t2", "t3")


def in_schema(url: str, schema: str) -> str:
    """The address of a schema of a database, as DATABASE_URL has it."""
    return make_url(url).update_query_dict({"schema": schema}).render_as_string(hide_password=False)


def searching(url: str, schema: str) -> str:
    """A libpq URL whose sessions find the tables of a schema by their path; the same URL for `public`."""
    if schema == "public":
        return url
    parsed = make_url(url).update_query_dict({"options": f"-csearch_path={schema}"})
    return parsed.render_as_string(hide_password=False)


def other_schemas_template(server: PostgresServer) -> str:
    """A database with three schemas at the newest revision, each with the tool's own, and nothing in public."""
    return server.template("other_schemas_template", _prepare)


def _prepare(url: str) -> None:
    async def ensure(address: str) -> None:
        async with open_target(address, step="test") as connection:
            await ensure_tool_schema(connection)

    with ThreadPoolExecutor(1) as pool:  # the caller may be inside of a loop
        for name in NAMES:
            revisions.upgrade(in_schema(url, name))
            pool.submit(asyncio.run, ensure(in_schema(url, name))).result()

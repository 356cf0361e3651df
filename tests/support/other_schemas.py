"""Targets in schemas of other names than public."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from sqlalchemy.engine import make_url

from app.common.background import end_task
from app.data_layer import DataLayer, open_data_layers
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.settings import Settings
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


@asynccontextmanager
async def one_of_three(settings: Settings, **options: Any) -> AsyncIterator[DataLayer]:
    """The first of three salons over one pool, while the other two write and read what tests know by its keys."""
    url = make_url(settings.require_database_url()).difference_update_query(["schema"])
    shared = Settings(
        _env_file=None,
        **settings.model_dump(exclude_unset=True, exclude={"database_url"}),
        database_url=url.render_as_string(hide_password=False),
    )
    first, *others = NAMES
    own = {first: {}, **{name: {"cutover_stage": "complete"} for name in others}}
    async with open_data_layers(own, shared, **options) as salons:

        async def live(data: DataLayer) -> None:
            for number in count(1):
                client = {"yclients_id": 1 + number % 9, "company_id": 1, "name": "another salon's"}
                for answer in (
                    await data.upsert_clients([client | {"phone": f"7968448440{number % 9}"}]),
                    await data.upsert_company({"company_id": 1, "title": "another salon", "timezone": "Asia/Tokyo"}),
                    await data.get_client_by_id(1),
                ):
                    assert answer.success, answer
                await asyncio.sleep(0.05)

        lives = [asyncio.create_task(live(salons[name])) for name in others]
        try:
            yield salons[first]
        finally:
            for task in lives:
                assert not task.done(), task
                await end_task(task)


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

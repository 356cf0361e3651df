"""The contract holds in a schema of another name, in a database whose public is empty: directly, and through PgBouncer.

A part of it here; `make soak` has all of it, and on three schemas of one database at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.contract.test_lookups import clients, test_client_by_phone_shared_by_two_companies  # noqa: F401
from tests.contract.test_upserts import test_a_new_client  # noqa: F401
from tests.pooler.bouncer import Bouncer
from tests.support.other_schemas import NAMES, in_schema, other_schemas_template
from tests.support.postgres import PostgresServer

HERE = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "data" in metafunc.fixturenames:
        metafunc.parametrize("contract_target", ["t1", "t1 pooled"], indirect=True, scope="session")


@pytest.mark.soak
@pytest.mark.budget(1200)
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("way", ["direct", "pooled", "three at once", "over one pool"])
async def test_the_whole_contract(way: str, postgres_server: PostgresServer, transaction_pooler: Bouncer) -> None:
    url = postgres_server.create_database(template=other_schemas_template(postgres_server))
    through = transaction_pooler.url(url) if way == "pooled" else url
    names = NAMES if way == "three at once" else NAMES[:1]
    options = ["--contract-through", "salons"] if way == "over one pool" else []
    suites = [run_suite(in_schema(through, name), postgres_server, *options) for name in names]
    ended = await asyncio.gather(*suites)
    postgres_server.drop_database(url)
    assert [code for code, _ in ended] == [0] * len(names), "\n".join(said[-3000:] for _, said in ended)


async def run_suite(target: str, server: PostgresServer, *options: str) -> tuple[int | None, str]:
    """The contract suite in a process of its own, on a target that is ready: its exit code and its output."""
    arguments = [*options, "-q", "-n", "0", "-p", "no:cacheprovider", "--contract-target", target, str(HERE)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        *arguments,
        f"--ignore={__file__}",
        env={**os.environ, "TEST_DATABASE_URL": server.admin_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode(errors="replace")

"""Sequences go past the highest id also where a run was ended after its rows were in and before it raised them."""

from collections.abc import Awaitable
from types import ModuleType
from typing import Any

import pytest

from app.migration import postgres_writer, sync_forward, verify
from app.migration.verify import VerifyOptions
from tests.migration.conftest import Source
from tests.migration.engine import add_clients, copy_from, tables, value, verify_from
from tests.migration.test_sync import sync_from
from tests.migration.test_sync_reverse import back


class Killed(BaseException):
    """Nothing handles it, as nothing handles a SIGKILL."""


def _work(module: ModuleType, connected: Source, target: str) -> Awaitable[Any]:
    if module is verify:
        return verify_from(connected, target, tables("clients"), options=VerifyOptions(fix=True, pause=0.01))
    return (back if module is postgres_writer else sync_from)(connected, target, "clients")


@pytest.mark.parametrize("module", [sync_forward, postgres_writer, verify], ids=["sync", "sync back", "verify --fix"])
async def test_the_next_run_raises_them(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    sides = [connected.database_url, database_url]
    if module is postgres_writer:
        sides.reverse()
    begins, follows = sides
    add_clients(connected.database_url, 5)
    await copy_from(connected, database_url, tables("clients"))
    add_clients(begins, 1, first=1000)

    async def killed(*arguments: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "raise_sequences", killed)
        with pytest.raises(Killed):
            await _work(module, connected, database_url)
    assert value(follows, "SELECT max(id) FROM clients") == 1000
    await _work(module, connected, database_url)
    assert value(follows, "SELECT nextval('clients_id_seq')") == 1001

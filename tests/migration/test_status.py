"""What status tells of a run, while it is at work and after."""

import psycopg
import pytest

from app.migration.runs.status import read_status
from app.migration.target.target_session import open_target, run_lock_holder
from app.state.tool_schema import ensure_tool_schema
from tests.migration.engine import execute


@pytest.mark.parametrize(
    ("command", "step"),
    [("copy", "copy"), ("copy", "migrate"), ("sync", "sync"), ("sync --reverse", "sync"), ("verify --fix", "verify")],
)
async def test_a_run_at_work_is_running(database_url: str, command: str, step: str) -> None:
    async with open_target(database_url, step=step, exclusive=True) as connection:
        await ensure_tool_schema(connection)
        execute(database_url, "INSERT INTO botdata.runs (command, source) VALUES (%s, 'a.example')", [command])
        status = await read_status(database_url)
        assert [(run.command, run.state) for run in status.runs] == [(command, "running")]
    status = await read_status(database_url)
    assert [run.state for run in status.runs] == ["stopped"]
    assert str(status.next_step).startswith(f"botdata {command}, with the same source")


async def test_the_lock_of_a_run_that_failed_is_free_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run may come before the server has ended the session, which is a little later than it is closed."""
    held: list[str | None] = []
    async with open_target(database_url, step="test") as other:
        close = psycopg.AsyncConnection.close

        async def look_and_close(connection: psycopg.AsyncConnection) -> None:
            if connection is not other:
                held.append(await run_lock_holder(other))
            await close(connection)

        monkeypatch.setattr(psycopg.AsyncConnection, "close", look_and_close)
        with pytest.raises(ZeroDivisionError):
            async with open_target(database_url, step="copy", exclusive=True):
                raise ZeroDivisionError
    assert held == [None]

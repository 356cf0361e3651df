"""What status tells of a run, while it is at work and after."""

import pytest

from app.migration.runs.status import read_status
from app.migration.target.target_session import open_target
from app.state.tool_schema import ensure_tool_schema
from tests.migration.engine import execute


@pytest.mark.parametrize("command", ["copy", "sync", "sync --reverse", "verify --fix"])
async def test_a_run_at_work_is_running(database_url: str, command: str) -> None:
    async with open_target(database_url, step=command.partition(" ")[0], exclusive=True) as connection:
        await ensure_tool_schema(connection)
        execute(database_url, "INSERT INTO botdata.runs (command, source) VALUES (%s, 'a.example')", [command])
        status = await read_status(database_url)
        assert [(run.command, run.state) for run in status.runs] == [(command, "running")]
    status = await read_status(database_url)
    assert [run.state for run in status.runs] == ["stopped"]
    assert status.next_command.startswith(f"botdata {command}, with the same source")

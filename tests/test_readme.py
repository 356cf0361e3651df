"""The commands of README and docs/moving.md, and the snippets of docs/data-layer.md, held against the program."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.command_tree import cli
from app.embedded.salon import fill_salon
from app.schema import revisions
from app.settings import Settings
from tests.support.supabase import SupabaseServer, SupabaseServers

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOVING = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
SNIPPETS = (ROOT / "docs" / "data-layer.md").read_text(encoding="utf-8")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def _commands(text: str) -> list[str]:
    return [line.strip()[2:] for block in _blocks(text, "console") for line in block.splitlines()]


def test_it_is_read_in_two_minutes() -> None:
    assert len(README.splitlines()) <= 120


def test_commands_exist() -> None:
    assert {"make demo", "make test"} <= set(_commands(README))
    makefile = (ROOT / "Makefile").read_text()
    for command in [*_commands(README), *_commands(MOVING)]:
        program, *words = command.split()
        if program == "make":
            assert f"\n{words[0]}:" in makefile
        elif program == "botdata":
            shown = CliRunner().invoke(cli, [words[0], "--help"])
            assert shown.exit_code == 0
            for option in words[1:]:
                assert option in shown.output
        else:
            assert command == "pip install ."  # PyPI has another package of the command's name


def test_commands_for_ones_own_project_run_in_their_order(
    supabase_server_factory: SupabaseServers, fresh_database: str, tmp_path: Path
) -> None:
    def salon(database_url: str) -> None:
        revisions.upgrade(database_url)
        fill_salon(database_url, clients=40, baileys_keys=5)

    supabase = supabase_server_factory(salon)
    (settings,) = _blocks(MOVING, "ini")
    values = [supabase.url, supabase.service_key, fresh_database]
    names = [line.partition("=")[0].strip() for line in settings.strip().splitlines()]
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in zip(names, values, strict=True)))
    commands = [command.split() for command in _commands(MOVING) if command.startswith("botdata ")]
    in_short = [command.split() for command in _commands(README) if command.startswith("botdata ")]
    assert ["botdata", "migrate"] in in_short
    assert [command for command in commands if command in in_short] == in_short
    environment = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    for _, *words in commands:
        if words[0] == "parity":
            words += ["--samples", "3"]
        done = subprocess.run(
            [Path(sys.executable).with_name("botdata"), *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("backend", ["false", "true"])
def test_bot_snippet_runs(backend: str, supabase_server: SupabaseServer, database_url: str) -> None:
    snippet = _blocks(SNIPPETS, "python")[0]
    ast.parse(snippet)
    program = f"{snippet}\nimport asyncio\nprint(asyncio.run(greet()))\n"
    environment = {
        "SUPABASE_URL": supabase_server.url,
        "SUPABASE_KEY": supabase_server.service_key,
        "DATABASE_URL": database_url,
        "USE_REPOSITORY_PATTERN": backend,
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("hello, stranger\n", 0), done.stderr


async def test_repository_snippet_runs(database_url: str) -> None:
    namespace: dict[str, object] = {}
    exec(_blocks(SNIPPETS, "python")[1], namespace)
    rename = namespace["rename"]
    assert inspect.iscoroutinefunction(rename)
    await rename(database_url)
    from app.repositories import UnitOfWork
    from app.stores.postgres.database import Database

    database = Database(database_url)
    async with UnitOfWork(database) as work:
        client = await work.clients.get_by_phone("79000000007")
    await database.close()
    assert client is not None
    assert (client.name, client.yclients_id) == ("Анна", 7)

"""The README's settings, commands and snippets, held against the program."""

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
from tests.support.readme_tables import BENCHMARKS, CHAOS, ResultTable
from tests.support.supabase import SupabaseServer, SupabaseServers

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE)


def _commands() -> list[str]:
    return [line.strip()[2:] for block in _blocks("console") for line in block.splitlines()]


def test_settings_table_is_the_settings() -> None:
    shown = re.findall(r"^\| `([A-Z_]+)` \| (.*?) ?\| (.*?) \|$", TEXT, re.MULTILINE)
    real = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        real.append((name.upper(), default.lower() if isinstance(field.default, bool) else default, field.description))
    assert shown == real


def test_commands_exist() -> None:
    commands = _commands()
    assert "make demo" in commands
    makefile = (README.parent / "Makefile").read_text()
    for command in commands:
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
    settings = re.search(r"```ini\n(.*?)```", TEXT, re.DOTALL)
    assert settings is not None
    values = [supabase.url, supabase.service_key, fresh_database]
    names = [line.partition("=")[0].strip() for line in settings[1].strip().splitlines()]
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in zip(names, values, strict=True)))
    commands = [command.split() for command in _commands() if command.startswith("botdata ")]
    assert ["botdata", "migrate"] in commands
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


def test_named_paths_exist() -> None:
    for path in re.findall(r"`((?:tests|app|docs)/[\w./]*)`|\]\(([\w./-]+)\)", TEXT):
        assert (README.parent / "".join(path)).exists(), path


@pytest.mark.parametrize("backend", ["false", "true"])
def test_bot_snippet_runs(backend: str, supabase_server: SupabaseServer, database_url: str) -> None:
    snippet = _blocks("python")[0]
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
    exec(_blocks("python")[1], namespace)
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


@pytest.mark.parametrize("table", [BENCHMARKS, CHAOS], ids=lambda table: table.name)
def test_a_table_is_that_of_the_last_results(table: ResultTable) -> None:
    assert table.section(README.read_text(encoding="utf-8")).group() == table.markdown()

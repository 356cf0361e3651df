"""docs/any-project.md: its commands, in their order, take a project from nothing to a verified move, and back."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.adopt.conftest import EDGES, load
from tests.cli.command import BOTDATA, VARIABLES
from tests.migration.engine import execute, value
from tests.support.postgres import PostgresServer

_TEXT = (Path(__file__).parents[2] / "docs" / "any-project.md").read_text(encoding="utf-8")
_ADDRESS = "postgresql://postgres.PROJECT:password@HOST.pooler.supabase.com:5432/postgres"


@pytest.mark.budget(30)
def test_its_commands_run_in_their_order(databases: PostgresServer, tmp_path: Path) -> None:
    source, target = databases.create_database(), databases.create_database()
    load(source, EDGES)
    commands = re.findall(r"^ *\$ (.*)$", _TEXT, re.MULTILINE)
    assert commands[0] == "pip install ."
    ran: list[str] = []
    back = False
    directory = tmp_path
    settings = {name: text for name, text in os.environ.items() if name not in VARIABLES} | {"DATABASE_URL": target}
    for line in commands[1:]:
        if line == "cd my-project":
            directory = tmp_path / "my-project"
            given = (directory / ".env.example").read_text("utf-8")
            assert _ADDRESS in given
            (directory / ".env").write_text(f"DATABASE_URL={target}\nMIGRATION_SOURCE={source}\n", "utf-8")
            del settings["DATABASE_URL"]
            continue
        if line.startswith("botdata adopt"):
            directory = tmp_path
            assert _ADDRESS in line
        _, *words = shlex.split(line.replace(_ADDRESS, source))
        if "--reverse" in words:
            words += ["--accept", "source-trigger:things.touched", "--tables", "things"]  # there are some without a key
        done = subprocess.run(
            [BOTDATA, *words], cwd=directory, env=settings, capture_output=True, text=True, check=False
        )
        expected = {"inventory": 1}.get(words[0], 0)  # what is left to do by hand is left
        assert done.returncode == expected, f"{line}: {done.stdout}{done.stderr}"
        ran.append(words[0])
        if ran == ["adopt", "preflight", "migrate", "inventory"]:
            assert "by hand" in done.stdout
            execute(source, "INSERT INTO things VALUES (2, 'later', now()); DELETE FROM spoken WHERE \"order\" < 9")
        if ran[-2:] == ["sync", "verify"] and not back:
            (given,) = re.findall(r"```ini\n(.*?)```", _TEXT, re.DOTALL)
            with (directory / ".env").open("a", encoding="utf-8") as file:
                file.write(given)
            execute(target, "INSERT INTO things VALUES (3, 'by the application', now())")
            back = True
    assert ran == ["adopt", "preflight", "migrate", "inventory", "sync", "verify", "sync", "verify", "adopt"]
    assert value(source, "SELECT count(*) FROM things WHERE id = 3") == 1
    databases.drop_database(source)
    databases.drop_database(target)

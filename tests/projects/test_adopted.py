"""The projects are adopted, proved and moved with the commands that the messages name."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.embedded import EmbeddedPostgres
from tests.adopt.adopting import Adopted, adopt, check, run
from tests.fixtures.projects import MakeDatabase
from tests.projects import PROJECTS, SUPABASE, load
from tests.projects.rows import differences

# What no revision makes: the servers of foreign tables are made by hand.
_BY_HAND = {"shop": "remote_payments"}
# The models are imported, and every relationship finds its other end.
_CONFIGURED = "from sqlalchemy.orm import configure_mappers; import models; configure_mappers()"


def _adopted(server: EmbeddedPostgres, project: str, source: str, directory: Path, *options: str) -> Adopted:
    adopted = adopt(source, directory, *options, target=server.url())
    left = [one["name"] for one in adopted.document["differences"]]
    assert [name for name in left if _BY_HAND.get(project, "\0") not in name] == []
    assert adopted.code == (1 if left else 0)
    assert adopted.document["items"] > 300
    return adopted


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_is_adopted_and_moved(
    project: str,
    project_server: EmbeddedPostgres,
    make_database: MakeDatabase,
    tmp_path: Path,
) -> None:
    source, target = make_database(project_server), make_database(project_server)
    load(project_server, project, source)
    directory = tmp_path / project
    _adopted(project_server, project, source, directory)
    linted = run(directory, "ruff", "check", "--no-cache", ".")
    assert linted.returncode == 0, linted.stdout
    imported = run(directory, "python", "-W", "error", "-c", _CONFIGURED)
    assert imported.returncode == 0, imported.stderr
    for line in ("migrate", "sync", "verify"):
        done = run(directory, "botdata", line, target=target, source=source)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert differences(source, target, SUPABASE) == {}
    assert check(directory, target) == ""


@pytest.mark.soak
@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("options", [(), ("--with-auth",), ("--with-auth", "--with-auth-secrets", "--with-grants")])
def test_the_types_of_a_project_are_sound(
    project: str,
    options: tuple[str, ...],
    project_server: EmbeddedPostgres,
    make_database: MakeDatabase,
    tmp_path: Path,
) -> None:
    source = make_database(project_server)
    load(project_server, project, source)
    _adopted(project_server, project, source, tmp_path / project, *options)
    typed = run(tmp_path / project, "mypy")
    assert typed.returncode == 0, typed.stdout

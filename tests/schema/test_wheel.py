"""An installed wheel carries the revisions inside its package, and upgrades from there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.schema import revisions
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import CHECKOUT

UPGRADE = """
import os
from pathlib import Path
import app
from app.schema import revisions
from app.schema.revision_files import scripts
print(Path(app.__file__).parent)
print(scripts())
print(revisions.upgrade(os.environ["DATABASE_URL"]).after)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", directory, CHECKOUT, cwd=directory)
    (built,) = directory.glob("*.whl")
    return built


def test_wheel_carries_the_revisions_inside_its_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"app"}
    shipped = {path.name for path in (CHECKOUT / "alembic" / "versions").glob("*.py")}
    assert {f"app/alembic/versions/{name}" for name in shipped} <= set(names)
    assert {"app/alembic/env.py", "app/alembic/script.py.mako", "app/py.typed"} <= set(names)
    assert {"app/docs/limits.md", "app/report/page.html", "app/report/page.css"} <= set(names)
    assert {f"app/watch/page/watch.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_installed_wheel_upgrades_outside_the_checkout(wheel: Path, tmp_path: Path, fresh_database: str) -> None:
    target = tmp_path / "installed"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--no-compile")
    run(sys.executable, "-m", "pip", "install", *options, "--target", target, wheel, cwd=tmp_path)
    out = run(sys.executable, "-c", UPGRADE, cwd=tmp_path, PYTHONPATH=str(target), DATABASE_URL=fresh_database)
    assert out.split() == [str(target / "app"), str(target / "app" / "alembic"), revisions.head()]
    assert differences(expected_catalog(), read_catalog(fresh_database)) == []

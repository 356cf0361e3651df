"""The revisions of another project, which lie in a directory with its `alembic.ini`."""

import os
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from app.common.programs import run_program
from app.errors import MigrationError, SettingsError
from app.next_step import Command, NextStep
from app.schema.revisions import Upgrade, current
from app.stores.postgres.database_url import libpq_url

_STEP = "upgrade"


def project_revisions(configuration: Path) -> list[str]:
    """The revisions of the project, the newest first.

    Raises:
        SettingsError: there is no such file, or its revisions cannot be read.
    """
    if not configuration.is_file():
        raise SettingsError(f"{configuration}, which [tool.botdata] names, is not there")
    try:
        scripts = ScriptDirectory.from_config(Config(configuration))
        scripts.get_current_head()  # refuses several
        return [script.revision for script in scripts.walk_revisions()]
    except CommandError as error:
        raise SettingsError(f"the revisions of {configuration} cannot be read: {error}") from error


async def upgrade_project(configuration: Path, url: str, *, step: str = _STEP, revision: str = "head") -> Upgrade:
    """Upgrade a database with the project's revisions, in a process of its own, where its modules are its own.

    Raises:
        MigrationError: a revision cannot be run; says why.
    """
    before = current(url)
    # What the driver would show of its own texts may hold values: the revisions say what a person needs.
    environment = dict(os.environ) | {"DATABASE_URL": libpq_url(url), "PYTHONWARNINGS": "ignore"}
    done = await run_program(
        *(sys.executable, "-m", "alembic", "-c", configuration.name, "upgrade", revision),
        environment=environment,
        directory=configuration.parent,
    )
    if done.code:
        said = done.said or done.out.decode("utf-8", "replace").removeprefix("FAILED: ")  # Alembic's own words
        lines = said.splitlines()
        traced = any(line.startswith("Traceback") for line in lines)
        raise MigrationError(
            "the revisions cannot be run: " + ("\n".join(lines[-1:] if traced else lines) or "no reason was given"),
            step=step,
            pending="the schema is as it was",
            next_step=NextStep("put right what is named, then: ", Command(step)),
        )
    return Upgrade(before, current(url), ())

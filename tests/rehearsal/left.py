"""What is left of rehearsals on a server and on this machine."""

import tempfile
from pathlib import Path

from tests.migration.engine import query


def databases_left(url: str) -> list[str]:
    """The names of rehearsals' databases on a server, by any database of it."""
    return [name for (name,) in query(url, "SELECT datname FROM pg_database WHERE datname LIKE 'botdata_rehearsal_%'")]


def directories_left(directory: str | Path | None = None) -> list[Path]:
    """The directories of rehearsals' stand-in sources."""
    return list(Path(directory or tempfile.gettempdir()).glob("botdata_rehearsal_*"))


def not_removed(url: str) -> int:
    """How many records say that something may be left."""
    ((count,),) = query(url, "SELECT count(*) FROM botdata.rehearsals WHERE removed_at IS NULL")
    return int(count)

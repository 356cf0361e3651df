"""What is left of rehearsals on a server and on this machine."""

from pathlib import Path

from tests.migration.engine import query


def databases_left(url: str) -> list[str]:
    """The names of the databases of this target's rehearsals: other tests have theirs on the same server."""
    recorded = "SELECT 'botdata_rehearsal_' || id FROM botdata.rehearsals"
    return [name for (name,) in query(url, f"SELECT datname FROM pg_database WHERE datname IN ({recorded})")]


def directories_left(temporary: Path) -> list[Path]:
    """The directories of rehearsals' stand-in sources, in the directory for temporary files that these had."""
    return list(temporary.glob("botdata_rehearsal_*"))


def not_removed(url: str) -> int:
    """How many records say that something may be left."""
    ((count,),) = query(url, "SELECT count(*) FROM botdata.rehearsals WHERE removed_at IS NULL")
    return int(count)


def processes_left(temporary: Path) -> list[str]:
    """The command lines of processes that work in the directory of a rehearsal."""
    directory = str(temporary / "botdata_rehearsal_")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:  # it has ended, or is another user's
            continue
        if directory in line + place:
            found.append(line)
    return found

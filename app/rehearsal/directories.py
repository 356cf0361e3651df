"""The directory of a rehearsal: made, marked as its own, and deleted."""

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.rehearsal.places import NOTHING_DONE, PREFIX, STEP
from app.state.rehearsals import RehearsalRecord

_MARK = "rehearsal"  # the file that says whose directory it is
_ENDING = 20.0  # seconds that the servers of a killed rehearsal may take to end
_POLL = 0.1


def temporary_directory() -> Path:
    """Where the directories of rehearsals are: TMPDIR, or the system's."""
    return Path(tempfile.gettempdir()).absolute()


def directory_of(rehearsal: str) -> Path:
    """Where the directory of a rehearsal is to be, by the rehearsal's id."""
    return temporary_directory() / f"{PREFIX}{rehearsal}"


def make_directory(rehearsal: str) -> None:
    """Make it, and mark it; MigrationError where the system refuses."""
    directory = directory_of(rehearsal)
    try:
        directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)  # a PostgreSQL of root's is another user's
        (directory / _MARK).write_text(rehearsal)
    except OSError as error:
        raise MigrationError(
            f"{directory} cannot be made: {error.strerror}",
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep("set TMPDIR to a directory that can be written, then: ", Command(STEP)),
        ) from error


def delete_directory(record: RehearsalRecord) -> list[str]:
    """Delete it where it is the rehearsal's, by its name and by the mark in it; what is left, in words."""
    if record.directory is None:
        return []
    directory = Path(record.directory)
    if record.machine != socket.gethostname():
        return [f"{directory} may be left on {record.machine}: to remove it, run this there"]
    if directory.name != f"{PREFIX}{record.id}" or directory.is_symlink() or not directory.is_dir():
        return []
    mark = directory / _MARK
    if any(directory.iterdir()) and not (mark.is_file() and mark.read_text() in {record.id, ""}):
        return [f"{directory} does not bear the mark of the rehearsal that is recorded: it is left as it is"]
    deadline = time.monotonic() + _ENDING
    while not _emptied(directory, mark):
        if time.monotonic() > deadline:
            return [f"{directory} cannot be deleted"]
        time.sleep(_POLL)  # a server that was left to stop by itself may still write
    shutil.rmtree(directory)
    return []


def _emptied(directory: Path, mark: Path) -> bool:
    """Delete all but the mark, which goes last, so that a deletion that is killed can go on."""
    for each in directory.iterdir():
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        elif each != mark:
            each.unlink(missing_ok=True)
    return set(directory.iterdir()) <= {mark}

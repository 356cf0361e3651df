"""A file of notes for the time in which PostgreSQL is away: one for each process, in a directory of the host's.

A line is one write: `{"table":"clients","keys":[["7","1"]]}`. While a process lives it holds its file's lock, so a file
that can be locked is a dead process's. Directory and files are for their owner alone: keys can be phone numbers.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

from app.common.keys import Key
from app.stores.codec.json_rows import encode

T = TypeVar("T")

_SUFFIX = ".notes"


@dataclass(frozen=True)
class Left:
    """What a dead process left: by write, a table's name and natural keys.

    Attributes:
        unreadable: lines that are no notes, but for a last one without its end: its write was never begun.
    """

    process: str
    writes: list[tuple[str, list[Key]]]
    unreadable: int


class FallbackFile:
    """The file of one process, made when there is something to write.

    Every method raises OSError where the directory or the file does not let it.

    Args:
        process: the name of the process; no two have the same.
    """

    def __init__(self, directory: Path, process: str) -> None:
        self._directory = directory.expanduser()
        self._path = self._directory / f"{quote(process, safe='')}{_SUFFIX}"
        self._file: int | None = None
        self._length = 0
        self._kept = 0
        self._is_closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="botdata-spool")  # one, which keeps the order

    async def append(self, table: str, keys: Sequence[Key]) -> None:
        """Write the keys of one write down; they are on the disk when this returns."""
        line = encode({"table": table, "keys": keys}).encode() + b"\n"
        await self._run(lambda: self._append(line))

    async def settle(self) -> None:
        """One of the writes is needed here no more; when none is, the file is emptied, unless it is given up."""
        if self._is_closed:
            return
        await self._run(self._settle)

    async def take_over(self, bring: Callable[[Left], Awaitable[None]]) -> None:
        """Hand over what dead processes left, file by file; a file is removed when `bring` returns."""
        for path in await self._run(self._others):
            await self._take_over(path, bring)

    async def close(self) -> None:
        """Give the file up: it is removed when nothing in it is needed, else left to the next process that starts."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def _take_over(self, path: Path, bring: Callable[[Left], Awaitable[None]]) -> None:
        file = await self._run(lambda: _locked(path))
        if file is None:
            return
        try:
            left = await self._run(lambda: _read(file, path))
            if left.writes or left.unreadable:
                await bring(left)
            await self._run(path.unlink)
        finally:
            self._thread.submit(os.close, file)  # after what the thread still does with it

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _append(self, line: bytes) -> None:
        if self._file is not None and not _is_at(self._file, self._path):  # somebody has taken it away
            os.close(self._file)
            self._file = None
        if self._file is None:
            self._file = self._make()
        self._length = min(self._length, os.fstat(self._file).st_size)
        try:
            os.lseek(self._file, self._length, os.SEEK_SET)
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._length)  # no half line before the next one
            raise
        self._length += len(line)
        self._kept += 1

    def _make(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # Waits for a process that looks at it just now, and may have removed it then.
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, self._path):
                directory = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return self._make()

    def _settle(self) -> None:
        self._kept -= 1
        if self._kept == 0 and self._file is not None:
            os.ftruncate(self._file, 0)
            self._length = 0

    def _others(self) -> list[Path]:
        return sorted(path for path in self._directory.glob(f"*{_SUFFIX}") if path != self._path)

    def _close(self) -> None:
        if self._file is None:
            return
        if self._kept == 0:
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None


class Overflow:
    """Writes that are too many to be kept in memory too, in files like those of a process that has ended.

    Attributes:
        count: how many there are.
    """

    def __init__(self, directory: Path, process: str) -> None:
        self._directory = directory
        self._process = process
        self._file: FallbackFile | None = None
        self._files = 0
        self.count = 0

    async def append(self, table: str, keys: Sequence[Key]) -> None:
        """Write the keys of one write down; OSError where the directory or the file does not let it."""
        if self._file is None:
            self._files += 1
            self._file = FallbackFile(self._directory, f"{self._process} overflow {self._files}")
        await self._file.append(table, keys)
        self.count += 1

    async def give_up(self) -> None:
        """Leave the present file to the process that takes over what the dead left; the next write begins another."""
        file, self._file = self._file, None
        if file is not None:
            await file.close()


def _locked(path: Path) -> int | None:
    """A file of a dead process, locked; None where its process lives or somebody has removed it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    if _is_at(file, path):
        return file
    os.close(file)
    return None


def _is_at(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _read(file: int, path: Path) -> Left:
    with os.fdopen(os.dup(file), "rb") as reader:
        lines = reader.read().split(b"\n")
    writes = []
    unreadable = 0
    for line in lines[:-1]:  # after the last end of a line is nothing, or what was not written whole
        try:
            entry = json.loads(line)
            writes.append((str(entry["table"]), [tuple(map(str, key)) for key in entry["keys"]]))
        except (ValueError, KeyError, TypeError):
            unreadable += 1
    return Left(unquote(path.name.removesuffix(_SUFFIX)), writes, unreadable)

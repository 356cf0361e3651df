"""The archive of one salon: a ZIP file with a member for each table, in COPY's text form, and a manifest at its end.

A ZIP file has its list of members at the end, so that one that was cut is none; each member has a SHA-256 in the
manifest. Everything in it can be read with `unzip` and `psql`.
"""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from app.errors import INSTALL_NEWER, MigrationError
from app.next_step import Command, NextStep

FORMAT = 1
_MANIFEST = "manifest.json"
_BLOCK = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table of an archive.

    Attributes:
        of: "data" or "tool": which of the two schemas it is in.
        size: bytes of COPY's text.
        sha256: of the same.
    """

    of: str
    name: str
    columns: tuple[str, ...]
    rows: int = 0
    size: int = 0
    sha256: str = ""

    @property
    def member(self) -> str:
        """Its name in the file."""
        return f"{self.of}/{self.name}.copy"


@dataclass(frozen=True, slots=True)
class SequenceState:
    """Where a sequence stands: `is_called` says that `last_value` was given out."""

    of: str
    name: str
    last_value: int
    is_called: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds.

    Attributes:
        made_at: ISO 8601, in UTC.
        revision: of the schema.
        state_version: of the tool's own tables.
        left: objects of the user's own that were left where they were, by the user's word.
        grants: what others than the owner may do, which is not brought along.
    """

    schema: str
    made_at: str
    revision: str
    state_version: int
    stage: str
    left: tuple[str, ...]
    grants: tuple[str, ...]
    tables: tuple[TableRows, ...]
    sequences: tuple[SequenceState, ...]

    def encoded(self) -> bytes:
        """As it is written into the file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False, indent=1).encode()

    @property
    def checksum(self) -> str:
        """Tells one archive from any other: of the manifest, which has those of the tables."""
        return sha256(self.encoded()).hexdigest()

    @property
    def receipt(self) -> str:
        """A word that whoever has moved the archive in can say at the old place."""
        return receipt_of(self.checksum)

    @classmethod
    def decoded(cls, text: bytes) -> Self:
        """What `encoded` wrote.

        Raises:
            KeyError, TypeError, ValueError: something else.
        """
        given: dict[str, Any] = json.loads(text)
        del given["format"]
        given["tables"] = tuple(TableRows(**{**one, "columns": tuple(one["columns"])}) for one in given["tables"])
        given["sequences"] = tuple(SequenceState(**one) for one in given["sequences"])
        return cls(**{**given, "left": tuple(given["left"]), "grants": tuple(given["grants"])})


def receipt_of(checksum: str) -> str:
    """The receipt of an archive with this checksum."""
    return sha256(f"moved in {checksum}".encode()).hexdigest()[:12]


class ArchiveWriter:
    """Writes an archive beside its place, closed to other users; `finish` puts it there.

    Args:
        path: where it is to be.

    Raises:
        MigrationError: something is there already, or the file cannot be written.
    """

    def __init__(self, path: Path, *, step: str) -> None:
        self._path, self._step, self._finished = path, step, False
        self._part = path.with_name(f"{path.name}.part")
        try:
            self._part.unlink(missing_ok=True)  # of one that was killed
            if os.path.lexists(path):
                raise FileExistsError(17, "it is there already, and is not overwritten")
            self._file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
        except OSError as error:
            raise self.failed(error) from error
        self._zip = ZipFile(self._file, "w", ZIP_DEFLATED, compresslevel=1)
        self._member: MemberWriter | None = None

    def table(self, table: TableRows) -> "MemberWriter":
        """Begin a table; one at a time."""
        self._member = MemberWriter(self._zip, table)
        return self._member

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, see to it that all is on the disk, and give the file its name."""
        self._zip.writestr(_MANIFEST, manifest.encoded())
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.link(self._part, self._path)  # unlike a rename, it replaces nothing
        self._finished = True
        self._part.unlink()

    def give_up(self) -> None:
        """Leave nothing behind, after `finish` too."""
        endings = [self._member.close] if self._member else []
        for close in (*endings, self._zip.close, self._file.close):
            with suppress(OSError, ValueError):
                close()
        for path in [self._part, *([self._path] if self._finished else [])]:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def failed(self, error: OSError) -> MigrationError:
        """What is told of a file that cannot be written."""
        return MigrationError(
            f"the archive cannot be written to {self._path}: {error.strerror}",
            step=self._step,
            pending="everything; nothing was changed",
            next_step=NextStep("make room, or name another file in --to, then: ", Command(self._step)),
        )


class MemberWriter:
    """Takes the rows of one table, and counts them."""

    def __init__(self, archive: ZipFile, table: TableRows) -> None:
        self._table = table
        self._member = archive.open(table.member, "w", force_zip64=True)
        self._rows, self._size, self._sum = 0, 0, sha256()

    def write(self, block: bytes) -> int:
        """Add a part of COPY's text; gives the rows that end in it."""
        self._member.write(block)
        self._sum.update(block)
        self._size += len(block)
        rows = block.count(b"\n")  # one in a value is written as \n
        self._rows += rows
        return rows

    def close(self) -> TableRows:
        """End the table."""
        self._member.close()
        return replace(self._table, rows=self._rows, size=self._size, sha256=self._sum.hexdigest())


class Archive:
    """An archive that was checked whole.

    Raises:
        MigrationError: it cannot be read, is damaged or cut, or is of a newer version.
    """

    def __init__(self, path: Path, *, step: str) -> None:
        self._path, self._step = path, step
        try:
            with ZipFile(path) as archive:
                self.manifest = self._read_manifest(archive.read(_MANIFEST))
                listed = {_MANIFEST, *(table.member for table in self.manifest.tables)}
                if set(archive.namelist()) != listed:
                    raise self._refused("its list of tables is not what its manifest says")
                for table in self.manifest.tables:
                    total, size = sha256(), 0
                    for block in _blocks(archive, table):
                        total.update(block)
                        size += len(block)
                    if (total.hexdigest(), size) != (table.sha256, table.size):
                        raise self._refused(f"{table.member} is not as it was written")
        except OSError as error:
            raise self._refused(f"it cannot be read: {error.strerror or 'it ends too early'}") from error
        except (BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self._refused("it is no archive of botdata schema move-out, or was cut or damaged") from error

    def blocks(self, table: TableRows) -> Iterator[bytes]:
        """COPY's text of a table, in parts."""
        with ZipFile(self._path) as archive:
            yield from _blocks(archive, table)

    def _read_manifest(self, text: bytes) -> Manifest:
        found = json.loads(text)["format"]
        if found != FORMAT:
            raise self._refused(f"it is of format {found}, which this botdata does not know", NextStep(INSTALL_NEWER))
        return Manifest.decoded(text)

    def _refused(self, why: str, next_step: NextStep | None = None) -> MigrationError:
        again = NextStep("bring the file over once more, and compare its SHA-256 at both places, then: ")
        return MigrationError(
            f"the archive {self._path} cannot be used: {why}",
            step=self._step,
            pending="everything; nothing was written",
            next_step=next_step or NextStep(*again, Command(self._step, "FILE")),
        )


def _blocks(archive: ZipFile, table: TableRows) -> Iterator[bytes]:
    with archive.open(table.member) as member:
        while block := member.read(_BLOCK):
            yield block

"""Troubles of a PostgreSQL while a command is at work on it: each begins at a moment, and is over when it is left."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psycopg

from tests.chaos.servers import FAST, IMMEDIATE, KILL, Server

_LONGEST_LOCK = 1.5  # seconds; far below the time that botdata waits for one
_STRANGER = "stranger"
SMALL_DISK = "small_disk"


@dataclass(frozen=True)
class Scene:
    """What a trouble is made on: a server, a database of it, its chances, and which sessions are the program's."""

    server: Server
    database: str
    chance: random.Random
    sessions: str = "botdata%"

    @property
    def url(self) -> str:
        """The database's URL past the relay."""
        return self.server.url(self.database)


Begin = Callable[[Scene], AbstractContextManager[None]]


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble.

    Attributes:
        before: it begins before the command, else in the middle of it.
        role: whose sessions the command opens meanwhile.
        refuses: a command that writes cannot end well in it.
        at_source: it makes sense at the source too.
        prepare: done before the command.
        loses: what was committed last is gone afterwards.
        tablespace: where the target's database is to be.
    """

    name: str
    begin: Begin
    before: bool = False
    role: str = "postgres"
    refuses: bool = False
    at_source: bool = False
    prepare: Callable[[Scene], None] | None = None
    loses: bool = False
    tablespace: str = "pg_default"


def _restarted(how: int) -> Begin:
    @contextmanager
    def begin(scene: Scene) -> Iterator[None]:
        scene.server.stop(how)
        time.sleep(scene.chance.choice((0, 0, 0.3, 1)))
        scene.server.start()
        yield

    return begin


@contextmanager
def _terminated(scene: Scene) -> Iterator[None]:
    """All of botdata's backends, or one."""
    limit = scene.chance.choice((1, 1, 100))
    _run(
        scene.url,
        "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name LIKE "
        f"'{scene.sessions}' AND datname = current_database() AND pid <> pg_backend_pid() "
        f"ORDER BY md5(pid::text || '{scene.chance.random()}') LIMIT {limit}) chosen",
    )
    yield


@contextmanager
def _exhausted(scene: Scene) -> Iterator[None]:
    """Nearly all connections are taken: a few are left, or none."""
    left = scene.chance.choice((0, 0, 1, 2, 3))
    with ExitStack() as stack:
        taken = []
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(stack.enter_context(psycopg.connect(scene.server.url(), autocommit=True)))
        for connection in taken[:left]:
            connection.close()
        yield


@contextmanager
def _rows_locked(scene: Scene) -> Iterator[None]:
    """Another program locks rows from the last to the first, where a page goes from the first to the last."""
    with _in_thread(scene, _lock_rows):
        yield


def _lock_rows(connection: psycopg.Connection, scene: Scene, ended: Event) -> None:
    last = 1000 if scene.chance.random() < 0.7 else 100
    rows = connection.execute(
        "SELECT id FROM clients WHERE id <= (SELECT min(id) FROM clients) + %s ORDER BY id DESC", [last]
    ).fetchall()
    connection.execute("UPDATE services SET title = title WHERE id = (SELECT max(id) FROM services)")
    for (key,) in rows[:: max(1, len(rows) // 40)]:
        connection.execute("SELECT FROM clients WHERE id = %s FOR UPDATE", [key])
        if ended.wait(_LONGEST_LOCK / 40):
            break
    connection.execute("SELECT FROM services FOR UPDATE")


@contextmanager
def _tables_locked(scene: Scene) -> Iterator[None]:
    """Another program locks tables in an order of its own."""
    with _in_thread(scene, _lock_tables):
        yield


def _lock_tables(connection: psycopg.Connection, scene: Scene, ended: Event) -> None:
    tables = ["clients", "staff", "services", "bookings", "whatsapp_keys", "botdata.checkpoints", "botdata.writes"]
    scene.chance.shuffle(tables)
    for table in tables[:4]:
        mode = scene.chance.choice(("SHARE", "ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"))
        with suppress(psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName), connection.transaction():
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        if ended.wait(_LONGEST_LOCK / 4):
            break


@contextmanager
def _in_thread(scene: Scene, lock: Callable[[psycopg.Connection, Scene, Event], None]) -> Iterator[None]:
    """Lock, be chosen as a deadlock's victim or not, and let go; again until the command has ended."""
    ended, url = Event(), scene.url

    def work() -> None:
        with psycopg.connect(url, application_name="another program") as connection:
            while not ended.is_set():
                with suppress(psycopg.errors.DeadlockDetected):
                    lock(connection, scene, ended)
                connection.rollback()
                ended.wait(0.05)

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _set(*settings: str) -> Begin:
    """Settings of the database, for sessions to come."""

    @contextmanager
    def begin(scene: Scene) -> Iterator[None]:
        name = scene.database
        for setting in settings:
            _run(scene.server.url(), f"ALTER DATABASE {name} SET {setting}")
        try:
            yield
        finally:
            _run(scene.server.url(), f"ALTER DATABASE {name} RESET ALL")

    return begin


def _stranger(*grants: str) -> Begin:
    """A role that may log in, and no more than is granted."""

    @contextmanager
    def begin(scene: Scene) -> Iterator[None]:
        _run(scene.url, f"DROP ROLE IF EXISTS {_STRANGER}", f"CREATE ROLE {_STRANGER} LOGIN")
        for grant in grants:
            _run(scene.url, f"GRANT {grant} TO {_STRANGER}")
        try:
            yield
        finally:
            _run(scene.url, f"DROP OWNED BY {_STRANGER}", f"DROP ROLE {_STRANGER}")

    return begin


@contextmanager
def _failed_over(scene: Scene) -> Iterator[None]:
    """The server stops in order, and another one goes on with its data."""
    scene.server.stop(FAST)
    _spare(scene)
    scene.server.move_to(_spare_directory(scene))
    yield


@contextmanager
def _failed_over_late(scene: Scene) -> Iterator[None]:
    """The server is gone, and another one goes on with what it had before the command, as asynchronous copies do."""
    scene.server.stop(KILL)
    scene.server.move_to(_spare_directory(scene))
    yield


def _spare(scene: Scene) -> None:
    there = _spare_directory(scene)
    if there == scene.server.directory:
        return
    scene.server.copy_data(there)


def _spare_directory(scene: Scene) -> Path:
    first = scene.server.directory.name.partition("-")[0]
    return scene.server.directory.with_name(f"{first}-{'b' if scene.server.directory.name.endswith('-a') else 'a'}")


def _copied_before(scene: Scene) -> None:
    scene.server.stop(FAST)
    _spare(scene)
    scene.server.start()


@contextmanager
def _disk_full(scene: Scene) -> Iterator[None]:
    """Little room is left on the disk of the target's database."""
    disk = scene.server.directory.with_name(SMALL_DISK)
    room = scene.chance.choice((0, 100_000, 400_000, 1_000_000, 2_000_000))
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - room))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def small_disk(server: Server) -> Iterator[bool]:
    """A small file system, a tablespace on it; False where none can be mounted: it takes root."""
    disk = server.directory.with_name(SMALL_DISK)
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        yield False
        return
    try:
        space = disk / "space"
        space.mkdir(mode=0o700)
        for path in (disk, space):
            os.chown(path, server.directory.stat().st_uid, server.directory.stat().st_gid)
        _run(server.url(), f"CREATE TABLESPACE {SMALL_DISK} LOCATION '{space}'")
        yield True
        _run(server.url(), f"DROP TABLESPACE {SMALL_DISK}")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@contextmanager
def _cut(scene: Scene) -> Iterator[None]:
    """Every connection is reset, and those to come for a while."""
    scene.server.relay.cut()
    time.sleep(scene.chance.choice((0, 0.2, 1)))
    scene.server.relay.heal()
    yield


@contextmanager
def _hung(scene: Scene) -> Iterator[None]:
    """Nothing comes through for a second."""
    scene.server.relay.hang()
    time.sleep(1)
    scene.server.relay.heal()
    yield


def _run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


TROUBLES = [
    Trouble("fast restart", _restarted(FAST), at_source=True),
    Trouble("immediate restart", _restarted(IMMEDIATE), at_source=True),
    Trouble("kill -9 of the server", _restarted(KILL), at_source=True),
    Trouble("backends terminated", _terminated, at_source=True),
    Trouble("connections exhausted before", _exhausted, before=True, at_source=True),
    Trouble("connections exhausted", _exhausted, at_source=True),
    Trouble("rows locked in another order", _rows_locked),
    Trouble("tables locked in another order", _tables_locked, at_source=True),
    Trouble("read-only database", _set("default_transaction_read_only = on"), before=True, refuses=True),
    Trouble("short timeouts", _set("statement_timeout = 20", "lock_timeout = 1", "transaction_timeout = 30"),
            before=True, at_source=True),
    Trouble("no rights", _stranger(), before=True, role=_STRANGER, refuses=True),
    Trouble("rights to read alone", _stranger("pg_read_all_data"), before=True, role=_STRANGER, refuses=True),
    Trouble("failover", _failed_over),
    Trouble("failover without the last commits", _failed_over_late, prepare=_copied_before, loses=True),
    Trouble("connections reset", _cut, at_source=True),
    Trouble("a hanging network", _hung, at_source=True),
]  # fmt: skip
DISK_FULL = Trouble("full disk", _disk_full, before=True, tablespace=SMALL_DISK)

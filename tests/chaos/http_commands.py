"""The commands themselves through trouble, each in a process of its own, with the waits that its user has."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.command import Botdata, Done
from tests.chaos.http_trouble import Rates, Trouble
from tests.chaos.http_world import Ended, World, differing, execute, pages_of
from tests.support.page_server import PageServer

_RATES = Rates(passing=0.012, lying=0.012, lasting=0.003, server=0.005)
_REFUSING = b"ALTER TABLE clients ADD CONSTRAINT no_sevens CHECK (id % 10 <> 7)"
_CHANGES = b"UPDATE clients SET notes = 'changed' WHERE id BETWEEN 50 AND 80; DELETE FROM messages WHERE id::text < '8'"
_TRIES = 2  # with faults; then one without

_BACK = ["--reverse", "--overwrite", "--accept", "source-triggers-unseen"]
KINDS = ("migrate", "copy", "sync", "reverse", "replay")


class Move:
    """Commands against one source and one target; each is repeated until it ends well, at last without faults."""

    def __init__(self, botdata: Botdata, server: PageServer, name: str) -> None:
        self.ended = Ended()
        self._botdata = botdata
        self._server = server
        self._name = name
        self._runs = 0

    def __call__(self, *words: str, ends_with: int = 0) -> None:
        """Run a command; what it says where it stops is enough to go on."""
        self._runs += 1
        trouble = Trouble(self._server, f"{self._name}:{self._runs}", _RATES)
        for tries in range(_TRIES + 1):
            if tries == _TRIES:
                trouble.end()
            done = self._botdata(*words)
            if done.code == ends_with and "stopped:" not in done.out:
                break
            self._look_at(words[0], done)
        else:
            self.ended.wrong.append(f"{self._name}: {' '.join(words)} does not end well: {done.out[-300:]!r}")
        trouble.end()
        self.ended.injected += trouble.injected.total()

    def same(self, source: str, target: str) -> None:
        """Compare the two databases with SQL, where the commands have said that all is well."""
        unequal = [] if self.ended.wrong else differing(source, target)
        self.ended.lost += len(unequal)
        self.ended.wrong += [f"{self._name}: lost: {row}" for row in unequal[:5]]

    def _look_at(self, command: str, done: Done) -> None:
        if done.code != 1 or "botdata" not in done.out:
            self.ended.wrong.append(f"{self._name}: {command} ends with {done.code}: {done.out[-300:]!r}")
        elif command == "verify" and "stopped:" not in done.out:
            self.ended.wrong.append(f"{self._name}: verify finds what is not there: {done.out[-300:]!r}")


def run_move(world: World, directory: Path, name: str, kind: str, chance: random.Random) -> Ended:
    """One way through the commands."""
    directory.mkdir()
    with (
        world.database("salon") as source,
        world.database("template0" if kind == "migrate" else "empty") as target,
        pages_of(source, max_rows=chance.choice([20, 50])) as server,
    ):
        settings = {"SUPABASE_URL": server.url, "SUPABASE_KEY": server.service_key, "DATABASE_URL": target}
        move = Move(Botdata(directory, settings, world.transcript), server, name)
        if kind == "replay":
            execute(target, _REFUSING)
            move("copy", "--with-baileys", ends_with=1)
            execute(target, b"ALTER TABLE clients DROP CONSTRAINT no_sevens")
            move("quarantine", "replay")
        elif kind == "migrate":
            move("migrate", "--with-baileys")
        else:
            move("preflight", "--with-baileys")
            move("copy", "--with-baileys")
        move.same(source, target)
        if kind in {"sync", "reverse"}:
            changed = source if kind == "sync" else target
            execute(changed, _CHANGES)
            move("sync", "--with-baileys", *(_BACK if kind == "reverse" else []))
            move.same(source, target)
        move("verify", "--with-baileys")
        return move.ended

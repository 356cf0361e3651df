"""Moves a pair along one path with the real commands, and holds what they claim against the oracle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg

from tests.fidelity import oracle
from tests.fidelity.oracle import Disagreement
from tests.fidelity.pair import Pair
from tests.fidelity.places import Place, execute, place
from tests.support.in_process import Said, run_here
from tests.support.page_server import PageServer

Kind = Literal["connection", "rest"]
Journey = Literal["forward", "again", "reverse"]
_KINDS: tuple[Kind, ...] = ("connection", "rest")
_JOURNEYS: tuple[Journey, ...] = ("forward", "again", "reverse")
_WRONG_OPTION = 2
_ERROR = re.compile(r"^  error ([a-z-]+):", re.MULTILINE)
_EXTRA = re.compile(r"^(.+): ([\d,]+) rows of the target are not in the source", re.MULTILINE)


@dataclass
class Result:
    """What came of a pair on its path.

    Attributes:
        wrong: claims that the oracle contradicts, and what no command may do.
        reached: how far it went, for counts: "refused", "copy: all is well" and so on.
        said: what each command printed.
        lost: the most rows that were missing while a command claimed that all is well.
    """

    pair: Pair
    path: tuple[Kind, Journey]
    wrong: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    lost: int = 0

    def __str__(self) -> str:
        lines = "\n".join(f"  {line}" for line in self.wrong)
        return f"seed {self.pair.seed} by {' '.join(self.path)}: {'; '.join(self.pair.hazards)}\n{lines}"


def path_of(pair: Pair) -> tuple[Kind, Journey]:
    """The path of a pair: all by turns, but mostly forward, where rows are replayed, if there is something to mend."""
    kind, journey = _KINDS[pair.seed % 2], _JOURNEYS[pair.seed // 2 % 3]
    return kind, "forward" if pair.mend and pair.seed % 5 else journey


def travel(admin_url: str, pair: Pair, directory: Path) -> Result:
    """Move a pair along its path."""
    path = path_of(pair)
    result = Result(pair, path)
    with ExitStack() as stack:
        try:
            there = stack.enter_context(place(admin_url, pair, directory))
        except psycopg.Error as error:
            result.wrong.append(f"the pair cannot be made: {error}")
            return result
        move = _Move(result, there, stack.enter_context(_source(there, path[0])))
        {"forward": _forward, "again": _again, "reverse": _reverse}[path[1]](move)
    return result


def travel_by_stream(admin_url: str, pair: Pair, directory: Path) -> Result:
    """Move a pair by change streams, there and back, on a server that decodes its log."""
    result = Result(pair, ("connection", "forward"))
    with place(admin_url, pair, directory) as there:
        try:
            with _source(there, "connection") as settings:
                _by_stream(_Move(result, there, settings))
        finally:
            for url in (there.source, there.target):  # a database with a slot cannot be dropped
                execute(url, [_DROP_SLOTS])
    return result


_DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
_STREAM = "--by stream --until-lsn now --accept-unbounded-wal --max-deletes 1000"


def _by_stream(move: _Move) -> None:
    if not move.copied():
        return
    move(f"sync {_STREAM}")
    execute(move.place.source, move.pair.changes)
    move(f"sync {_STREAM}")
    move("verify")
    move.settings["USE_REPOSITORY_PATTERN"] = "true"
    for changes in ((), move.pair.back):
        execute(move.place.target, changes)
        move(f"sync --reverse {_STREAM} --accept source-triggers-unseen --overwrite")
    move("verify")


def _forward(move: _Move) -> None:
    """A copy, a sync of changes, and a repair of what was spoilt."""
    move.clear = move("preflight").code == 0
    if not move.copied():
        return
    move("verify")
    move.replayed()
    execute(move.place.source, move.pair.changes)
    move("sync --max-deletes 1000")
    move("verify")
    execute(move.place.target, move.pair.spoil, quietly=True)
    move("verify")
    move("verify --fix")
    move("verify")


def _again(move: _Move) -> None:
    """A copy into empty tables, and another one after changes."""
    if not move.copied():
        return
    execute(move.place.source, move.pair.changes)
    move(f"copy{move.accepted}")
    move("verify")


def _reverse(move: _Move) -> None:
    """A copy, and changes at the target that are brought back."""
    if not move.copied():
        return
    move("verify")
    move.settings["USE_REPOSITORY_PATTERN"] = "true"
    execute(move.place.target, move.pair.back)
    move("sync --reverse --accept source-triggers-unseen --overwrite --max-deletes 1000")
    move("verify")


@dataclass
class _Move:
    """A pair at its place, and the commands on it.

    Attributes:
        accepted: the options of a copy that accept what preflight found.
        clear: a preflight said that nothing is in the way.
    """

    result: Result
    place: Place
    settings: dict[str, str]
    accepted: str = ""
    clear: bool = False

    @property
    def pair(self) -> Pair:
        """What is moved."""
        return self.place.pair

    def __call__(self, words: str) -> Said:
        """Run a command; what it claims is held against the oracle."""
        said = run_here([*words.split(), "--metadata", self.place.module], self.place.directory, self.settings)
        self.result.said.append(said.text)
        if "Traceback" in said.text:
            self._wrong(words, said, "a traceback, or no end")
        claim = words.split()[0]
        if claim in {"copy", "verify", "sync"}:
            claims = (
                said.code == 0
                or {"copy": "copy complete", "verify": "no difference", "sync": "sync complete"}[claim] in said.out
            )
            if claims:
                self.result.reached.append(f"{claim}: all is well")
                self._hold(words, said, claim)
            elif "NOT the same" in said.out and not oracle.of_rows(self._compared()):
                self.result.reached.append("verify: a false alarm")
        return said

    def copied(self) -> bool:
        """Copy the first time; an error of preflight is accepted where it can be, after nothing was written."""
        for _ in range(3):
            said = self(f"copy{self.accepted}")
            if said.code == _WRONG_OPTION:  # one of them is no error that can be accepted
                return False
            if "preflight found" not in said.err:
                break
            self.result.reached.append("refused")
            if not oracle.is_empty(self.place.target, self.pair.tables):
                self._wrong("copy", said, "preflight refused it, and yet rows were written")
            if self.clear and not self.accepted:
                self._wrong("copy", said, "preflight said that nothing is in the way, and yet it refused")
            new = [code for code in dict.fromkeys(_ERROR.findall(said.out)) if code not in self.accepted]
            if not new:
                return False
            self.accepted += "".join(f" --accept {code}" for code in new)
        stopped = said.code != 0 and "copy NOT complete" not in said.out
        if stopped and self.clear:
            self._wrong("copy", said, "preflight said that nothing is in the way, and yet it stopped")
        if said.code != 0:
            self.result.reached.append("copy: stopped" if stopped else "copy: NOT complete")
        return not stopped

    def replayed(self) -> None:
        """Mend the target, and load again what it refused: where nothing else was missing, nothing is afterwards."""
        if not self.pair.mend:
            return
        quarantined, missing = oracle.quarantined(self.place.target), self._missing()
        execute(self.place.target, self.pair.mend)
        said = self("quarantine replay")
        if said.code == 0 and "none remain" in said.out and quarantined == missing and self._missing():
            self._wrong("quarantine replay", said, f"all went in, it says; but {self._missing()} rows are missing")
        self("verify")

    def _missing(self) -> int:
        return sum(one.rows for one in self._compared() if one.what == "missing")

    def _hold(self, words: str, said: Said, claim: str) -> None:
        found = self._compared()
        unsaid = [one for one in found if not named(one, said.out)]
        found = unsaid if claim == "copy" else oracle.of_rows(found)
        if claim == "copy" and "source-type-differs" in self.accepted:
            found = _without_converted(found)
        if found:
            missing = sum(one.rows for one in found if one.what == "missing")
            self.result.lost = max(self.result.lost, missing)
            listed = "; ".join(map(str, found[:4]))
            self._wrong(words, said, f"all is well, it says; but {listed}")

    def _compared(self) -> list[Disagreement]:
        return oracle.compare(self.place.source, self.place.target, self.pair)

    def _wrong(self, words: str, said: Said, what: str) -> None:
        tail = " | ".join(said.text.strip().splitlines()[-6:])
        self.result.wrong.append(f"{words}: {what}\n    exit code {said.code}: {tail[-900:]}")


def _without_converted(found: list[Disagreement]) -> list[Disagreement]:
    """Without rows that are there under another text: their owner has accepted that, and verify names each."""
    rows = {(one.name, one.what): one.rows for one in found}
    return [
        one
        for one in found
        if one.what not in {"missing", "extra"} or rows.get((one.name, "missing")) != rows.get((one.name, "extra"))
    ]


def named(one: Disagreement, out: str) -> bool:
    """Whether a copy has said so itself: rows that only the target has, or a view to be refreshed."""
    if one.what == "extra":
        return any(name == one.name and one.rows <= int(count.replace(",", "")) for name, count in _EXTRA.findall(out))
    return one.what in {"view", "sequence"} and one.name in out


@contextmanager
def _source(there: Place, kind: Kind) -> Iterator[dict[str, str]]:
    """The settings that name the source and the target."""
    settings = {"DATABASE_URL": there.as_user}
    if kind == "connection":
        yield settings | {"MIGRATION_SOURCE": there.source}
        return
    describes = there.pair.seed % 4 < 2
    with PageServer(
        there.source, max_rows=there.pair.row_cap, schemas=there.pair.schemas, describes=describes
    ) as pages:
        yield settings | {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}

"""Both ends' PostgreSQL in trouble while commands and calls are at work: each ends well, or says what to run next."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from itertools import count, cycle, islice
from threading import Lock

import psycopg

from tests.chaos import postgres_calls
from tests.chaos.moments import ENDED, Lengths, Moment, disturbed
from tests.chaos.postgres_troubles import DISK_FULL, TROUBLES, Scene, Trouble, small_disk
from tests.chaos.process_kinds import KINDS, REPLACE, Kind
from tests.chaos.process_place import Place
from tests.chaos.process_stage import Stage
from tests.chaos.scenario import Chaos, Scenario
from tests.chaos.servers import Server

_FULL, _LEAST = 130, 4  # while commands are at work
_LANES = 3
_FULL_CALLS, _LEAST_CALLS = 40, 3
_STOPPED = re.compile(r"^botdata [a-z -]+ stopped: ", re.MULTILINE)
_DIFFER = re.compile(r"^NOT the same: .*?([\d,]+) rows differ", re.MULTILINE)
_NEXT = re.compile(r"^ *next: .*botdata [a-z]", re.MULTILINE)


def run(chaos: Chaos) -> None:
    """Commands in trouble, and beside them the data layer's calls in trouble on a server of their own."""
    with ThreadPoolExecutor(1) as worker:
        calls = worker.submit(postgres_calls.run, chaos, chaos.of(_FULL_CALLS, _LEAST_CALLS))
        _commands(chaos)
        outcome, others = chaos.outcome, calls.result()
    outcome.injected += others.injected
    outcome.survived += others.survived
    outcome.lost += others.lost
    outcome.wrong += others.wrong


def _commands(chaos: Chaos) -> None:
    """Lanes side by side, since most of a run is waiting; each has servers of its own."""
    wanted, outcome, met, adding = chaos.of(_FULL, _LEAST), chaos.outcome, Counter[str](), Lock()

    def add(trial: _Trial) -> None:
        with adding:
            outcome.injected += trial.injected
            outcome.survived += trial.injected if not (trial.wrong or trial.lost) else 0
            outcome.lost += trial.lost
            outcome.wrong += trial.wrong
            met.update(trial.met)

    lanes = _LANES if wanted > len(KINDS) else 1
    with ThreadPoolExecutor(lanes) as workers:
        for has_disk in workers.map(lambda lane: _lane(chaos, lane, lanes, -(-wanted // lanes), add), range(lanes)):
            if not has_disk:
                met["full disk, which takes root to mount one: NOT injected"] = 0
    print("  PostgreSQL:", ", ".join(f"{n} {what}" for what, n in sorted(met.items())), flush=True)  # noqa: T201


def _lane(chaos: Chaos, lane: int, lanes: int, wanted: int, add: Callable[[_Trial], None]) -> bool:
    """Trial after trial: one to three troubles, each while the same command is at work, and then the command alone.

    Returns:
        Whether there was a disk that could be filled.
    """
    chaos = replace(chaos, directory=chaos.directory / f"lane{lane}")
    chaos.directory.mkdir()
    chaos.directory.chmod(0o755)
    kinds = KINDS[lane::lanes] if lanes > 1 else KINDS[:2]
    with ExitStack() as stack:
        targets = stack.enter_context(Server(chaos.directory / "targets"))
        sources = stack.enter_context(Server(chaos.directory / "sources"))
        stage = stack.enter_context(Stage(chaos, kinds, targets, sources))
        if lanes > 1:
            stage.measure()
        has_disk = stack.enter_context(small_disk(targets))
        faults = _faults(chaos.chance("troubles", lane), [*TROUBLES, *([DISK_FULL] * 2 if has_disk else [])])
        injected = 0
        trials = zip(count(lane, lanes), cycle(kinds), strict=False)
        while injected < wanted:
            number, kind = next(trials)
            trial = _Trial(chaos, stage, targets, sources, number, kind)
            trial.carry_out(faults)
            injected += trial.injected
            add(trial)
        return has_disk


def _faults(chance: random.Random, every: list[Trouble]) -> Iterator[Trouble]:
    while True:
        chance.shuffle(every)
        yield from every


class _Trial:
    """One command, its troubles, and what came of them."""

    def __init__(self, chaos: Chaos, stage: Stage, targets: Server, sources: Server, number: int, kind: Kind) -> None:
        self.injected = self.lost = 0
        self.wrong: list[str] = []
        self.met: Counter[str] = Counter()
        self._stage, self._number, self._kind, self._seed = stage, number, kind, chaos.seed
        self._targets, self._sources = targets, sources
        self._chance = chaos.chance("postgres", number)
        self._is_done = False  # once it has ended well there may be nothing left to do

    def carry_out(self, faults: Iterator[Trouble]) -> None:
        """Trouble after trouble, and then none."""
        troubles = list(islice(faults, self._chance.choice((1, 2, 3))))
        if DISK_FULL in troubles:  # a failover would leave its disk behind
            troubles = [DISK_FULL]
        with self._stage.place(self._kind, self._number, troubles[0].tablespace) as place:
            # Else a crash sets a copied database's sequences back: the copy's pages count as logged, and what they
            # were to give out next is logged in the original alone.
            with psycopg.connect(self._targets.url(), autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            for trouble in troubles:
                try:
                    self._attempt(place, trouble)
                except (AssertionError, psycopg.Error) as error:
                    self.wrong.append(f"{trouble.name}: {type(error).__name__}: {str(error)[-900:]}")
            self._end(place)
        self.wrong = [f"{self._kind.name}, trial {self._number} of seed {self._seed}, {w}" for w in self.wrong]

    def _attempt(self, place: Place, trouble: Trouble) -> None:
        at_source = trouble.at_source and self._kind.over == "connection" and self._chance.random() < 0.4
        source = psycopg.conninfo.conninfo_to_dict(place.source)["dbname"]
        server, name = (self._sources, str(source)) if at_source else (self._targets, place.name)
        scene = Scene(server, name, self._chance)
        if trouble.prepare is not None:
            trouble.prepare(scene)
        botdata = place.botdata
        if trouble.role != "postgres":
            address = self._targets.address(place.name, trouble.role)
            botdata = replace(botdata, settings={**botdata.settings, "DATABASE_URL": address})
        with ExitStack() as ends:
            before = trouble.begin(scene) if trouble.before else nullcontext()
            moment = Moment(self._chance.random(), not trouble.before, self._chance.random() < 0.3)

            def disturb(_process: object) -> None:
                if not trouble.before:
                    ends.enter_context(trouble.begin(scene))

            with before:
                fell = disturbed(botdata, place.target, moment, Lengths(0, self._stage.lengths(self._kind).work),
                                 disturb, *place.words)  # fmt: skip
        self.met[f"{trouble.name}{' at the source' if at_source else ''}"] += 1
        self.injected += 1
        said = fell.done
        where = f"{trouble.name} ({fell.where}): "
        if _STOPPED.search(said.out):
            if said.code != 1 or not _NEXT.search(said.out):
                self.wrong.append(f"{where}exit code {said.code}, and not what to run next: {said.out[-900:]}")
            self.wrong += [where + line for line in place.between()]
            return
        if said.code != self._kind.code:
            self.wrong.append(f"{where}exit code {said.code} and no word of a stop: {said.out[-900:]}")
        elif trouble.refuses and fell.where != ENDED and not (self._is_done or self._kind.words.startswith("verify")):
            self.wrong.append(f"{where}it ended well: {said.out[-900:]}")
        elif trouble.loses:
            self.wrong += [where + line for line in self._loss_told(place)]
        elif self._kind.words != REPLACE:
            lost, wrong = place.after()
            self.lost += lost
            self.wrong += [f"{where}ended well: {line}" for line in wrong]
        self._is_done = True

    def _loss_told(self, place: Place) -> list[str]:
        """What verify does not say of rows that a command had brought over and that are lost again."""
        if self._kind.over == "" or "--reverse" in self._kind.words or not (lost := place.after()[0]):
            return []
        said = place.botdata("verify", "--with-baileys")
        told = _DIFFER.search(said.out)
        is_told = said.code == 1 and told is not None and int(told[1].replace(",", "")) >= lost
        return [] if is_told else [f"{lost} lost: {said.out[-900:]}"]

    def _end(self, place: Place) -> None:
        again = place.botdata(*place.words)
        if again.code != self._kind.code or _STOPPED.search(again.out):
            self.wrong.append(f"the same command again, undisturbed: exit code {again.code}: {again.out[-900:]}")
        lost, wrong = place.after()
        self.lost += lost
        self.wrong += [f"in the end: {line}" for line in wrong]


SCENARIO = Scenario(
    "PostgreSQL",
    "restarts, kill -9, terminated backends, no connections, deadlocks, full disk, read-only, timeouts, failover",
    run,
)

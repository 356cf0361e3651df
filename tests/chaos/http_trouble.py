"""What goes wrong between a client and PostgREST: faults at a rate, chosen by seed, table and request."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.support import faults
from tests.support.faults import Answer, Delivery, Fault, Request, Unreached
from tests.support.page_server import PageServer

_WRITES = {"POST", "PATCH", "DELETE"}
_RETRY_AFTER = [
    *("0", "-1", "1e3", "soon", "", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00"),
    *("Mon, 99 Foo 9999 99:99:99 GMT", "Wed, 21 Oct 2015 07:28:00 +99999999999999", "Wed, 21 Oct 99999999999999 GMT"),
]


@dataclass(frozen=True)
class Rates:
    """Parts of the requests (0..1) at which something goes wrong.

    Attributes:
        passing: what a client should get over by itself: rates, gateways, lost connections, spoiled bodies.
        lying: answers that look right and are not.
        lasting: what may end a command: a refused key, a redirect, a table that is not known.
        server: a restart, or another row cap.
    """

    passing: float = 0.3
    lying: float = 0.1
    lasting: float = 0.002
    server: float = 0.01


class Trouble:
    """The hook of a page server; counts what it spoiled.

    Args:
        seed: of every choice; the same requests in the same order meet the same faults.

    Attributes:
        on: whether anything goes wrong.
        injected: faults by name.
    """

    def __init__(self, server: PageServer, seed: str, rates: Rates) -> None:
        self.on = True
        self.injected: Counter[str] = Counter()
        self._server = server
        self._seed = seed
        self._rates = rates
        self._answers: dict[str, list[Answer]] = {}  # whole ones, by table
        self._refusing = 0  # requests that are still refused: an expired key, a schema cache that is loading
        self._refusal = ""
        self._restarts: list[threading.Thread] = []
        self._lock = threading.Lock()
        server.hook = self

    def __call__(self, request: Request) -> Fault | None:
        """The fault of a request, or none."""
        chance = random.Random(f"{self._seed}:{request.number}")
        number = chance.random()
        if not self.on:
            return None
        with self._lock:
            if self._refusing:
                self._refusing -= 1
                return self._counting(self._refusal, Unreached(_LASTING[self._refusal](chance)))
        rates, writes = self._rates, request.method in _WRITES
        if (number := number - rates.passing) < 0:
            name = chance.choice(list(_PASSING))
            fault = _PASSING[name](chance)
            unreached = name in _NEVER_REACHED or chance.random() < 0.5
            return self._counting(name, Unreached(fault) if writes and unreached else fault)
        if (number := number - rates.lasting) < 0:
            self._refusal = chance.choice(list(_LASTING))
            self._refusing = chance.choice([0, 0, 1, 2])
            return self._counting(self._refusal, Unreached(_LASTING[self._refusal](chance)))
        if (number := number - rates.server) < 0:
            self._change_server(chance)
        elif number - rates.lying < 0 and not writes:
            return self._lie(request, chance)
        return self._remembering(request)

    def end(self) -> None:
        """Wait for restarts; nothing goes wrong from then on."""
        self.on = False
        for restart in self._restarts:
            restart.join()

    def _change_server(self, chance: random.Random) -> None:
        if chance.random() < 0.85:
            self.injected["another row cap"] += 1
            self._server.max_rows = chance.choice([1, 2, 3, 5, 9, 30])
        elif not any(restart.is_alive() for restart in self._restarts):
            self.injected["restart"] += 1
            restart = threading.Thread(target=self._server.restart, args=[chance.uniform(0.0, 0.03)])
            self._restarts.append(restart)
            restart.start()

    def _lie(self, request: Request, chance: random.Random) -> Fault:
        name = chance.choice(list(_LYING))
        if name == "another answer":
            with self._lock:
                # Of the same table too: the page before, or its keys alone.
                known = [one for table, some in self._answers.items() for one in some if table == request.table] or [
                    one for some in self._answers.values() for one in some
                ]
                if chance.random() < 0.5:
                    known = [one for some in self._answers.values() for one in some]
            return self._counting(name, faults.instead(chance.choice(known)) if known else lambda answer: answer)
        return self._counting(name, _LYING[name](chance))

    def _counting(self, name: str, fault: Fault) -> Fault:
        def apply(answer: Answer) -> Answer:
            spoiled = fault(answer)
            if spoiled != answer:
                with self._lock:
                    self.injected[name] += 1
            return spoiled

        return Unreached(apply) if isinstance(fault, Unreached) else apply

    def _remembering(self, request: Request) -> Fault | None:
        """No fault; the answer may be given to another request later."""
        if request.method != "GET":
            return None

        def remember(answer: Answer) -> Answer:
            if answer.status in {200, 206}:
                with self._lock:
                    self._answers.setdefault(request.table, []).append(answer)
                    del self._answers[request.table][:-3]
            return answer

        return remember


Make = Callable[[random.Random], Fault]


def _limited(chance: random.Random) -> Fault:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    return faults.status(429, retry_after=soon if chance.random() < 0.02 else chance.choice(_RETRY_AFTER))


def _delivered(how: Delivery, pause: float = 0.002) -> Make:
    return lambda _chance: faults.delivered(how, pause=pause)


_PASSING: dict[str, Make] = {
    "429": lambda _chance: faults.status(429),
    "429 with Retry-After": _limited,
    **{str(code): lambda _chance, code=code: faults.status(code) for code in (500, 502, 503, 504, 520, 522, 524)},
    "503 with Retry-After": lambda chance: faults.status(503, retry_after=chance.choice(_RETRY_AFTER)),
    "PGRST000": lambda _chance: faults.postgrest(503, "PGRST000"),
    "PGRST001": lambda _chance: faults.postgrest(503, "PGRST001"),
    "PGRST002": lambda _chance: faults.postgrest(503, "PGRST002"),
    "PGRST003": lambda _chance: faults.postgrest(504, "PGRST003"),
    "statement timeout": lambda _chance: faults.statement_timeout(),
    "HTML": lambda _chance: faults.html_page(),
    "garbage": lambda _chance: faults.garbage(),
    "cut JSON": lambda _chance: faults.cut_json(),
    "gzip garbage": lambda _chance: faults.gzip_garbage(),
    "cut gzip": lambda _chance: faults.gzip_cut(),
    "slow": _delivered(Delivery.SLOW),
    "short": _delivered(Delivery.SHORT),
    "overlong": _delivered(Delivery.OVERLONG),
    "cut chunks": _delivered(Delivery.CHUNKS_CUT),
    "reset": _delivered(Delivery.RESET),
    "reset in the body": _delivered(Delivery.RESET_IN_BODY),
    "reset behind the body": _delivered(Delivery.RESET_BEHIND),
}
# As gateways and PostgREST say before they ask the database.
_NEVER_REACHED = {
    *("429", "429 with Retry-After", "503 with Retry-After", "PGRST000", "PGRST002", "PGRST003", "statement timeout"),
}
_LASTING: dict[str, Make] = {
    "redirect": lambda chance: faults.redirect(chance.choice([301, 302, 303, 307, 308])),
    "expired key": lambda _chance: faults.postgrest(401, "PGRST303", "JWT expired"),
    "refused key": lambda _chance: faults.status(403),
    "unknown table": lambda _chance: faults.postgrest(404, "PGRST205"),
    "unknown address": lambda _chance: faults.status(404),
}
_LYING: dict[str, Make] = {
    "row left out": lambda chance: faults.row_left_out(chance.random()),
    "row left out, and the range agrees": lambda chance: faults.agreeing(faults.row_left_out(chance.random())),
    "last row missing": lambda _chance: faults.row_missing(),
    "rows twice": lambda _chance: faults.rows_twice(),
    "another answer": lambda _chance: faults.rows_twice(),  # see Trouble._lie
    "no Content-Range": lambda _chance: faults.content_range(None),
    "another Content-Range": lambda chance: faults.content_range(
        chance.choice(["*/0", "*/*", "0-0/1", "0-4/5", "0-999/1000", "0-24/*", "5-9/*", "items 1", "", "0-/9", "9-0/ё"])
    ),
}

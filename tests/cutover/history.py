"""What the processes of a load did, read from their logs, and whether the stores still hold it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cutover.bot_process import KEY, TOKEN

Key = tuple[str, tuple[str, ...]]  # table and natural key
Tokens = dict[Key, str]


@dataclass
class Write:
    """One write of one key. `ended` is None where no success was acknowledged: it may land any time."""

    token: str
    began: float
    ended: float | None = None

    @property
    def writer(self) -> str:
        return self.token.partition(".")[0]

    @property
    def number(self) -> int:
        return int(self.token.partition(".")[2])


@dataclass
class Answer:
    """One call. Times are in seconds of the monotonic clock."""

    began: float
    ended: float
    method: str
    code: str | None
    error: str | None


@dataclass
class History:
    """All that the processes wrote down."""

    writes: dict[Key, list[Write]] = field(default_factory=lambda: defaultdict(list))
    answers: list[Answer] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, logs: Iterable[Path]) -> History:
        """The lines of all logs; a line cut short by a kill is left out."""
        history = cls()
        for log in logs:
            known: dict[tuple[Key, str], Write] = {}
            for text in log.read_bytes().split(b"\n")[:-1]:
                line = json.loads(text)
                if line[0] == "begin":
                    for table, key, token in line[2]:
                        place = (table, tuple(key))
                        known[place, token] = write = Write(token, line[1])
                        history.writes[place].append(write)
                elif line[0] == "write":
                    _, began, ended, method, writes, code, error = line
                    history.answers.append(Answer(began, ended, method, code, error))
                    for table, key, token in writes:
                        place = (table, tuple(key))
                        if code is None:
                            known[place, token].ended = ended
                        elif code != "outcome_unknown":  # nothing was done
                            history.writes[place].remove(known[place, token])
                elif line[0] == "read":
                    history.answers.append(Answer(*line[1:]))
                elif line[0] == "stale":
                    history.stale.append(f"{log.name}: {line[1:]}")
        return history

    @property
    def errors(self) -> list[Answer]:
        """The answers that were no success."""
        return [answer for answer in self.answers if answer.code]

    def errors_within(self, began: float, ended: float) -> Counter[str]:
        """Their codes, of calls that ended within a time."""
        return Counter(a.code for a in self.errors if a.code and began <= a.ended <= ended)

    @property
    def acknowledged(self) -> int:
        """How many writes of a key were acknowledged."""
        return sum(1 for writes in self.writes.values() for write in writes if write.ended is not None)

    def lost(self, held: Tokens, before: float = float("inf")) -> list[str]:
        """The keys of which a store does not hold the last acknowledged write, or a later one, in words.

        Args:
            before: only what was acknowledged by then is asked for.
        """
        found = []
        for key, writes in self.writes.items():
            acknowledged = [write for write in writes if write.ended is not None and write.ended < before]
            token = held.get(key)
            if token is None:
                if acknowledged:
                    found.append(f"{key}: not there, {acknowledged[-1].token} was acknowledged")
                continue
            write = next((write for write in writes if write.token == token), None)
            if write is None:
                found.append(f"{key}: holds {token}, which was refused or never written")
                continue
            later = [other for other in acknowledged if write.ended is not None and other.began > write.ended]
            later += [w for w in acknowledged if w.writer == write.writer and w.number > write.number]
            if later:
                found.append(f"{key}: holds {token}, and {later[-1].token} was acknowledged later")
        return found

    def percentile(self, share: float, windows: Sequence[tuple[float, float]], *, writes: bool) -> float | None:
        """The time in milliseconds within which this share (0..1) of the good answers came.

        Args:
            windows: only calls that began within one of these times.
        """
        times = sorted(
            answer.ended - answer.began
            for answer in self.answers
            if not answer.code
            and answer.method.startswith("upsert") == writes
            and any(start <= answer.began < end for start, end in windows)
        )
        return times[min(len(times) - 1, int(len(times) * share))] * 1000 if times else None


def tokens_statement(table: str) -> str:
    """SQL that gives the natural key and the token of each row that a load wrote."""
    key = ", ".join(f"{column}::text" for column in KEY[table])
    return f"SELECT ARRAY[{key}], {TOKEN[table]} FROM {table} WHERE {TOKEN[table]} ~ '^[0-9]+[.][0-9]+$'"

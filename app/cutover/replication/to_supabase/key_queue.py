"""Keys that wait for their first mirror, taken in batches of one table; a key is with one worker at a time."""

import asyncio
from collections.abc import Collection
from itertools import islice

from app.common.keys import Key

_AT_ONCE = 200  # each is a lock, and PostgreSQL has room for some thousands


class KeyQueue:
    """A key that is put while it waits waits once; one that is put while a worker has it is taken again after that."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Key, list[_Rest]]] = {}
        self._taken: dict[tuple[str, Key], list[_Rest]] = {}
        self._changed = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._taken)

    def put(self, table: str, keys: Collection[Key]) -> asyncio.Future[None]:
        """Add keys; the future is done when each of them has been with a worker."""
        rest = _Rest(len(set(keys)))
        waiting = self._waiting.setdefault(table, {})
        for key in set(keys):
            waiting.setdefault(key, []).append(rest)
        self._changed.set()
        if len(self):
            self._is_empty.clear()
        return rest.done

    async def take(self) -> tuple[str, list[Key]]:
        """Keys of one table, which nobody else is given until `give_back`."""
        while True:
            for table, waiting in self._waiting.items():
                free = (key for key in waiting if (table, key) not in self._taken)
                if keys := list(islice(free, _AT_ONCE)):
                    self._taken |= {(table, key): waiting.pop(key) for key in keys}
                    # In turn: the table goes to the end.
                    self._waiting[table] = self._waiting.pop(table)
                    return table, keys
            self._changed.clear()
            await self._changed.wait()

    def give_back(self, table: str, keys: Collection[Key], again: Collection[Key] = ()) -> None:
        """End what `take` began; the keys of `again` wait once more."""
        for key in keys:
            rests = self._taken.pop((table, key))
            if key in again:
                self._waiting[table].setdefault(key, []).extend(rests)
            else:
                for rest in rests:
                    rest.one_less()
        self._changed.set()
        if not len(self):
            self._is_empty.set()

    async def join(self) -> None:
        """Return once no key waits or is with a worker."""
        await self._is_empty.wait()

    def holds(self, table: str, key: Key) -> bool:
        """Whether the key waits, or is with a worker."""
        return key in self._waiting.get(table, ()) or (table, key) in self._taken


class _Rest:
    def __init__(self, count: int) -> None:
        self._count = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if count == 0:
            self.done.set_result(None)

    def one_less(self) -> None:
        self._count -= 1
        if self._count == 0 and not self.done.done():
            self.done.set_result(None)

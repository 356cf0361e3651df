"""The backend of a cutover: each call goes to the store that its stage names, and writes to the other one too."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from app.common.background import end_all, end_at_once
from app.common.deadlines import ends
from app.cutover.membership import Membership
from app.cutover.replication.authority_writer import AuthorityWriter
from app.cutover.replication.write_queue import ENDING
from app.cutover.shadow.comparisons import Comparisons
from app.cutover.stages import Store
from app.errors import AuthorityMovedError
from app.models import Base
from app.stores.backend import Backend
from app.stores.codec.json_rows import Values
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.database import Database


class StagedBackend:
    """Asks for the stage at every call. See `Backend` for the methods.

    Args:
        stores: the two backends; only those that the stages of this process can need.
        writers: by the authority that they write to.
        pools: connections to the target beside those of the stores; closed with this.
        end_starting: ends what still starts writers.
    """

    def __init__(
        self,
        membership: Membership,
        stores: Mapping[Store, Backend],
        writers: Mapping[Store, AuthorityWriter],
        comparisons: Comparisons,
        pools: Sequence[Database] = (),
        end_starting: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.membership = membership
        self._stores = stores
        self._writers = writers
        self._comparisons = comparisons
        self._pools = pools
        self._starting = [end_starting] if end_starting is not None else []

    async def read(self, method: str, arguments: Mapping[str, Any]) -> Any:
        return await self._comparisons.read(self.membership.stage, method, arguments)

    async def upsert(self, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        while True:
            async with self.membership.writing() as stage:
                try:
                    with self._comparisons.calls.answering():
                        return await self._writers[stage.authority].upsert(stage, model, rows, write)
                except AuthorityMovedError:
                    write.was_refused()
            await self.membership.look_again(stage)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way here or to be done by this process."""
        writers = self._writers.values()
        is_done = not any(writer.pending or writer.spooled or writer.problem for writer in writers)
        return is_done and self.membership.is_idle and self._comparisons.is_idle

    async def ping(self) -> None:
        await self._stores[self.membership.stage.authority].ping()

    async def close(self) -> None:
        writers = [writer.close for writer in self._writers.values()]
        work = partial(end_at_once, self._comparisons.close, *writers)
        stores = [store.close for store in self._stores.values()]
        pools = [pool.close for pool in self._pools]
        ended = partial(ends, ENDING)  # what was given up has its connection until then
        await end_all(*self._starting, work, self.membership.close, ended, *stores, *pools)

"""A salon goes from its Supabase's `public` to `t1` and back, by the commands, while a second one lives beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from app.common.schemas import Schemas
from app.cutover.stages import Stage, Store
from tests.cutover.load import Bots, step, there_and_back
from tests.cutover.servers import Servers
from tests.support.other_schemas import searching


class SalonServers(Servers):
    """The same, with salons in several schemas of the target; `schema` is the one that is meant."""

    schema = "t1"

    def url(self, store: Store) -> str:
        return searching(super().url(store), self.schema) if store is Store.POSTGRES else super().url(store)

    def environment(self, **given: str) -> dict[str, str]:
        return super().environment(**{"DATABASE_SCHEMA": self.schema, **given})

    def ask(self, store: Store, statement: str) -> list[Any]:
        tool = Schemas(self.schema).tool
        return super().ask(store, statement.replace(" botdata.", f" {tool}."))


@pytest.fixture
def salons() -> Iterator[SalonServers]:
    with TemporaryDirectory(prefix="botdata-salons-") as directory:
        Path(directory).chmod(0o755)  # a PostgreSQL that root starts runs as another user
        with SalonServers(Path(directory)) as servers:
            servers.reset()
            servers.schema = "public"
            servers.botdata("migrate")
            servers.ask(Store.POSTGRES, "UPDATE botdata.stage SET stage = 'complete', moved_at = now()")
            servers.schema = "t1"
            yield servers


@pytest.mark.soak
def test_there_and_back_beside_another_salon(salons: SalonServers) -> None:
    salons.botdata("verify")
    with (
        Bots(salons, 1, name="beside", first=5, DATABASE_SCHEMA="public") as beside,
        Bots(salons, 1, name="salon") as bots,
    ):
        for stage in there_and_back():
            step(salons, stage)
            bots.write_on(2)
            beside.write_on(2)
    assert salons.stage == Stage.OFF
    for history in (bots.history, beside.history):
        assert (history.errors, history.stale) == ([], [])
    salons.botdata("sync")
    for store in Store:
        assert bots.history.lost(salons.tokens(store)) == []
    assert salons.differing() == []
    # What the second salon wrote is in public alone.
    held = [salons.tokens(store) for store in Store]
    salons.schema = "public"
    public = salons.tokens(Store.POSTGRES)
    assert beside.history.lost(public) == []
    theirs = {token for token in public.values() if token and token.startswith(("60.", "61."))}
    assert theirs
    assert [theirs & set(tokens.values()) for tokens in held] == [set(), set()]
    assert salons.stage == Stage.COMPLETE

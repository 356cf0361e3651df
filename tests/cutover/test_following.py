"""A process follows the row: it reports itself, changes its stage without a restart, and holds writes for a move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.data_layer import open_data_layer
from tests.cutover.conftest import MakeSettings, Pair

CLIENT = {"yclients_id": 7, "company_id": 1, "phone": "79684484488", "name": "Анна"}


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of a database
            await asyncio.sleep(0.05)


async def test_the_stage_is_followed_without_a_restart(pair: Pair, settings_of: MakeSettings) -> None:
    async with open_data_layer(settings_of()) as data:
        for number, stage in enumerate(["off", "dualwrite", "shadow", "live", "rampdown", "complete", "live", "off"]):
            if number:
                await asyncio.to_thread(pair.set_stage, stage)  # a mirror of ours may hold the row
            await until(lambda stage=stage: pair.ask("SELECT stage FROM botdata.processes") == [(stage,)])
            answer = await data.upsert_client({**CLIENT, "name": stage})
            assert (answer.error, answer.success) == (None, True)
            store = "target" if stage in {"live", "rampdown", "complete"} else "source"
            assert pair.ask("SELECT name FROM clients", store=store) == [(stage,)]
    assert pair.ask("SELECT FROM botdata.processes") == []

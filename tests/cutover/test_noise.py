"""Writers on hot keys, mirrors on their way: no confirmed difference but a planted one."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from app.data_layer import DataLayer, open_data_layer
from tests.cutover.comparing import causes
from tests.fixtures.cutover import MakeSettings, Pair

SALON = 5
PHONES = ("79684484481", "79684484482")
ROUNDS = 10


async def write(data: DataLayer, seed: int) -> None:
    """Few rows, and few values, so that each row is soon as it was before."""
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        number = chance.randint(1, 3)
        person: dict[str, Any] = {
            "yclients_id": number,
            "company_id": SALON,
            "name": "Ann",
            "phone": chance.choice(PHONES),
        }
        assert (await data.upsert_client({**person, "visit_count": chance.randint(1, 2)})).success
        offered = {"yclients_id": number, "company_id": SALON, "title": "Cut", "weight": chance.randint(1, 2)}
        assert (await data.upsert_services([{**offered, "is_active": chance.random() < 0.5}])).success
        assert (await data.upsert_dialog_context({"user_id": "u", "state": chance.choice("ab")})).success


async def read(data: DataLayer) -> None:
    while True:
        await data.search_clients_by_name(SALON, "Ann", 2)
        await data.get_services(SALON)
        await data.get_dialog_context("u")
        await data.get_client_by_phone(PHONES[0])
        await data.get_client_by_id(1, SALON)


@pytest.mark.parametrize("stage", ["shadow", "live"])
async def test_hot_keys_make_no_difference_and_hide_none(pair: Pair, settings_of: MakeSettings, stage: str) -> None:
    pair.set_stage(stage)
    # The writers wait a little for their mirrors, so that these keep up on a machine with much else to do.
    settings = settings_of(compare_at_once=8, mirror_connections=16, compare_deadline=2.0, mirror_wait=0.05)
    async with open_data_layer(settings) as one, open_data_layer(settings) as other:
        cold = {"yclients_id": 9, "company_id": SALON, "title": "Shave", "weight": 0}
        assert (await one.upsert_services([cold])).success
        async with asyncio.timeout(60):
            while pair.texts("services", "target") == []:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        pair.ask("UPDATE services SET duration = 61 WHERE yclients_id = 9")
        layers = (one, other)
        reading = [asyncio.create_task(read(data)) for data in layers]
        async with asyncio.timeout(120):
            await asyncio.gather(*[write(data, seed) for seed, data in enumerate(layers)])
            while not causes(pair):  # a busy machine may have had no quiet moment to compare in
                await write(one, 0)
        for reader in reading:
            reader.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    assert {(method, cause) for method, cause, _ in causes(pair)} == {("get_services", "duration (NoneType or int)")}
    (counts,) = pair.ask("SELECT sum(equal)::int, sum(different)::int, sum(skipped)::int FROM botdata.comparisons")
    assert counts[0] > 0

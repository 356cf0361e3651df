"""Two writes at once that want each other's rows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.cutover.stages import Store
from app.data_layer import DataLayer
from tests.contract.stores import Stores, rows_of
from tests.contract.test_upserts import client


@pytest.mark.parametrize("existing", [False, True])
async def test_mixed_batches_with_crossed_shapes_are_both_written(
    data: DataLayer, stores: Stores, existing: bool
) -> None:
    if existing:
        stores.insert("clients", client(1), client(2))
    # The first row waits for another, so that each batch has its first row before it wants the other's.
    stores.execute(
        "CREATE SEQUENCE begun;"
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS "
        "$$BEGIN PERFORM nextval('begun');"
        "FOR turn IN 1..100 LOOP EXIT WHEN (SELECT last_value > 1 FROM begun); PERFORM pg_sleep(0.01); END LOOP;"
        "RETURN NEW; END$$;"
        "CREATE TRIGGER linger BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION linger()"
    )
    try:
        one, other = await asyncio.gather(
            data.upsert_clients([client(1, email="one"), client(2, notes="one")]),
            data.upsert_clients([client(2, email="other"), client(1, notes="other")]),
        )
    finally:
        stores.execute("DROP FUNCTION linger() CASCADE; DROP SEQUENCE begun")
    assert (one.error_code, other.error_code) == (None, None)
    assert [row.yclients_id for row in one.data or []] == [1, 2]
    assert [row.yclients_id for row in other.data or []] == [2, 1]
    if (
        stores.authority_of(data) is Store.POSTGRES
    ):  # on Supabase the one may write back what it has read before the other
        stored: list[dict[str, Any]] = rows_of(
            stores.url_of(data), "SELECT email, notes FROM clients ORDER BY yclients_id"
        )
        assert stored == [{"email": "one", "notes": "other"}, {"email": "other", "notes": "one"}]

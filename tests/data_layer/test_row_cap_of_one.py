"""A Supabase that answers with one row at a time: lookups are ambiguous, and lists whole, all the same."""

from __future__ import annotations

from app.data_layer import open_data_layer
from app.schema import revisions
from tests.contract.stores import insert
from tests.contract.test_upserts import SALON, client
from tests.fixtures.data_layer import MakeSettings
from tests.support.supabase import SupabaseServers


async def test_a_row_cap_of_one(settings_with: MakeSettings, supabase_server_factory: SupabaseServers) -> None:
    server = supabase_server_factory(revisions.upgrade, max_rows=1)
    insert(
        server.database_url,
        "clients",
        client(1),
        client(2),
        client(3, phone="79000000003"),
        client(3, company_id=SALON + 1, phone="79000000004"),
    )
    settings = settings_with(use_repository_pattern=False, supabase_url=server.url, supabase_key=server.service_key)
    async with open_data_layer(settings) as data:
        assert (await data.get_client_by_phone("79684484488")).error_code == "ambiguous"
        assert (await data.get_client_by_id(3)).error_code == "ambiguous"
        found = (await data.get_client_by_id(3, SALON)).data
        assert found is not None
        assert found.phone == "79000000003"
        searched = (await data.search_clients_by_name(SALON, "анна")).data
        assert searched is not None
        assert len(searched) == 3

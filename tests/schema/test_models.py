"""The models: equal to the catalog column by column, and what they say of their tables beside that."""

import pytest
from sqlalchemy import create_engine

from app.models import Base, natural_key, store_filled
from app.stores.postgres.database_url import sqlalchemy_url
from tests.schema.catalog import NATURAL_KEYS, differences, expected_catalog, read_catalog

TABLES = Base.metadata.tables


def test_tables_made_from_the_models_are_supabases(fresh_database: str) -> None:
    engine = create_engine(sqlalchemy_url(fresh_database))
    Base.metadata.create_all(engine)
    engine.dispose()
    expected = expected_catalog()
    # These are the revisions' alone.
    expected["functions"] = []
    for table in expected["tables"].values():
        table.update(triggers=[], policies=[], row_level_security=False)
    assert differences(expected, read_catalog(fresh_database)) == []


@pytest.mark.parametrize("name", TABLES)
def test_natural_key(name: str) -> None:
    expected = tuple(NATURAL_KEYS[name]["columns"]) if name in NATURAL_KEYS else None
    assert natural_key(TABLES[name]) == expected
    assert TABLES[name].info.get("natural_key") == expected


def test_group_and_changed_at() -> None:
    assert {name: (table.info["group"], table.info.get("changed_at")) for name, table in TABLES.items()} == {
        "companies": ("business", "updated_at"),
        "clients": ("business", "updated_at"),
        "services": ("business", "updated_at"),
        "staff": ("business", "updated_at"),
        "staff_schedules": ("business", "last_updated"),
        "bookings": ("business", "updated_at"),
        "dialog_contexts": ("business", "updated_at"),
        "messages": ("business", None),
        "actions": ("business", None),
        "company_sync_status": ("business", "updated_at"),
        "whatsapp_auth": ("baileys", "updated_at"),
        "whatsapp_keys": ("baileys", "updated_at"),
    }


def columns_with(mark: str) -> set[str]:
    return {str(column) for table in TABLES.values() for column in table.columns if column.info.get(mark)}


def test_columns_that_hold_phone_numbers() -> None:
    assert columns_with("phone") == {
        "clients.phone",
        "clients.raw_phone",
        "companies.phone",
        "companies.whatsapp_phone",
        "companies.marketplace_user_phone",
        "staff.phone",
        "bookings.client_phone",
        "messages.client_phone",
        "actions.client_phone",
        "dialog_contexts.user_id",
        "whatsapp_keys.key_id",
    }


def test_columns_that_hold_credentials() -> None:
    assert columns_with("secret") == {
        "companies.api_key",
        "companies.webhook_secret",
        "companies.whatsapp_session_data",
        "companies.whatsapp_config",
        "whatsapp_auth.creds",
        "whatsapp_keys.value",
    }


def test_columns_that_the_store_fills() -> None:
    catalog = expected_catalog()["tables"]
    made_up = ("nextval", "gen_random_uuid", "CURRENT_TIMESTAMP", "now()")
    for name, table in TABLES.items():
        for column in catalog[name]["columns"]:
            expected = (column["default"] or "").startswith(made_up)
            assert store_filled(table.columns[column["name"]]) is expected, (name, column["name"])


def test_attributes_have_the_columns_names() -> None:
    for mapper in Base.registry.mappers:
        names = {attribute.key: attribute.columns[0].name for attribute in mapper.column_attrs}
        assert names.pop("metadata_", "metadata") == "metadata"
        assert all(key == name for key, name in names.items())

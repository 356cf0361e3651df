"""Paging by primary key: row caps, page sizes, composite keys with any text in them, uuid keys."""

import pytest

from app.migration.retry import Limits
from tests.fixtures.sources import Source
from tests.migration.engine import (
    QUICK,
    REOPEN,
    add_clients,
    copy_from,
    execute,
    query,
    row_texts,
    tables,
    verify_from,
    whole_rows,
)
from tests.support.page_server import PageServer

ODD_TEXTS = [
    "", " ", "a,b", 'q"uote', '"quoted"', '"', "(paren)", "back\\slash", "\\", '\\"', "st*r", "per%cent", "%20", "100%",
    "dot.ted", "eq.5", "not.null", "is.null", "in.(1,2)", "null", "NULL", "true", "Ё", "ё", "е", "😀", "a+b", "a&b=c",
    "#hash", "two words", " lead", "trail ", "{brace}", "'", "a/b?c", "::text", "a:b", "line\nbreak", "tab\t", "a;b",
    "79000000001:12@s.whatsapp.net", "120363000000000012@g.us::79000000001::0", "AAAA/w+=", "\u2028", "\x01", "[0]",
]  # fmt: skip


# lite reads these in `eq` and `gt` as other than the text, where PostgREST takes them as they are.
MISREAD_BY_LITE = {" ", " lead", "trail ", "tab\t", "\u2028", '"quoted"', "{brace}", "null", "NULL", "true"}


def _limits(page_rows: int) -> Limits:
    return Limits(page_rows=page_rows, wait_initial=QUICK.wait_initial, wait_max=QUICK.wait_max)


def _fill_keys(source: Source) -> int:
    """Each odd text as the first, the second and the last column of a key."""
    texts = [text for text in ODD_TEXTS if not (source.is_lite and text in MISREAD_BY_LITE)]
    keys = {(text, "type", "id") for text in texts} | {("1", text, "id") for text in texts}
    keys |= {("1", "type", text) for text in texts}
    for key in keys:
        execute(
            source.database_url,
            "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) VALUES (%s, %s, %s, '{}')",
            key,
        )
    return len(keys)


@pytest.mark.parametrize("page_rows", [1, 2, 7, 2000])
async def test_row_cap_of_seven(source: Source, database_url: str, page_rows: int) -> None:
    add_clients(source.database_url, 50, first=-3)
    report = await copy_from(source, database_url, tables("clients"), limits=_limits(page_rows))
    assert (report.tables[0].inserted, report.complete) == (50, True)
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert (await verify_from(source, database_url, tables("clients"), limits=_limits(page_rows))).clean


@pytest.mark.parametrize("page_rows", [2, 2000])
async def test_composite_keys_of_any_text(source: Source, database_url: str, page_rows: int) -> None:
    rows = _fill_keys(source)
    report = await copy_from(source, database_url, tables("whatsapp_keys"), limits=_limits(page_rows))
    assert (report.tables[0].inserted, report.complete) == (rows, True)
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source.database_url, "whatsapp_keys")
    assert (await verify_from(source, database_url, tables("whatsapp_keys"))).clean


async def test_composite_keys_of_any_text_are_fetched_by_key(source: Source, database_url: str) -> None:
    """Rows that a finished table lacks are asked for by their keys."""
    rows = _fill_keys(source)
    chosen = tables("actions", "whatsapp_keys")
    await copy_from(source, database_url, chosen)
    execute(database_url, f"DELETE FROM whatsapp_keys; {REOPEN}")
    report = await copy_from(source, database_url, chosen)
    assert (report.resumed, report.tables[1].came, report.tables[1].missing) == (True, rows, ())
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source.database_url, "whatsapp_keys")


async def test_uuid_keys(source: Source, database_url: str) -> None:
    execute(
        source.database_url,
        "INSERT INTO dialog_contexts (id, user_id) SELECT md5(n::text)::uuid, n FROM generate_series(1, 40) n; "
        "INSERT INTO dialog_contexts (id, user_id) VALUES ('00000000-0000-0000-0000-000000000000', 'first'), "
        "('ffffffff-ffff-ffff-ffff-ffffffffffff', 'last')",
    )
    report = await copy_from(source, database_url, tables("dialog_contexts"))
    assert (report.tables[0].inserted, report.complete) == (42, True)
    assert row_texts(database_url, "dialog_contexts") == row_texts(source.database_url, "dialog_contexts")


async def test_a_row_cap_that_changes_in_mid_run(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 100)

    def hook(request: object) -> None:
        pages.max_rows = 3 if len(pages.exchanges) > 3 else 40

    pages.hook = hook
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    assert [seen.rows for seen in pages.pages("clients")[2:7]] == [40, 40, 3, 3, 3]
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_every_page_is_asked_for_by_key_and_once(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 30)
    pages.max_rows = 10
    await copy_from(pages, database_url, tables("clients"))
    asked = [seen.request for seen in whole_rows(pages, "clients")]
    assert [request.parameter("id") for request in asked] == [None, "gt.10", "gt.20", "gt.30"]
    assert all(request.parameter("offset") is None for request in asked)
    assert all(
        column.endswith("::text") for request in asked for column in (request.parameter("select") or "").split(",")
    )
    assert query(database_url, "SELECT pages, inserted, state FROM botdata.checkpoints") == [(3, 30, "complete")]


async def test_long_keys_are_fetched_in_addresses_that_a_gateway_takes(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    execute(
        source_database,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        "SELECT '1', 'session', repeat('ы', 100) || n, '{}' FROM generate_series(1, 60) n",
    )
    chosen = tables("actions", "whatsapp_keys")
    await copy_from(pages, database_url, chosen)
    execute(database_url, f"DELETE FROM whatsapp_keys; {REOPEN}")
    assert (await copy_from(pages, database_url, chosen)).tables[1].came == 60
    assert max(len(seen.request.target) for seen in pages.exchanges) < 4000

"""Materialized views: refreshed in order, compared, and named where they are stale or could not be compared."""

import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

from app.errors import CountTimeoutError
from app.migration.runs.report import VerifyReport, ViewCompared
from app.migration.sources.rest.rest_source import RestSource
from app.migration.tables.copy_table import CopyTable
from tests.fixtures.sources import Ends
from tests.migration.engine import copy_from, execute, value, verify_from
from tests.migration.test_usable import SALES_ROWS, SALES_SCHEMA
from tests.migration.two_ends import sync_from

_SALES = [Table("sales", MetaData(), Column("id", Integer, primary_key=True), Column("shop", Text))]
_SALES[0].append_column(Column("cents", BigInteger))
_REFRESH = 'REFRESH MATERIALIZED VIEW totals; REFRESH MATERIALIZED VIEW "A rank"'
_NEW = "INSERT INTO sales VALUES (4, 'west', 1)"


@pytest.fixture
async def moved(ends: Ends) -> Ends:
    """Both sides with the same rows, and with the same views of them."""
    ends.make(SALES_SCHEMA, SALES_ROWS + ";" + _REFRESH)
    assert (await copy_from(ends.served, ends.target, _SALES)).complete
    return ends


def _totals(report: VerifyReport) -> ViewCompared:
    return next(one for one in report.views if one.view == "public.totals")


async def test_they_are_compared(moved: Ends) -> None:
    report = await verify_from(moved.served, moved.target, _SALES)
    by = "rows" if moved.connected else "count"
    assert [(one.view, one.by, one.equal, one.why) for one in report.views] == [
        ("public.totals", by, True, None), ('public."A rank"', by, True, None)
    ]  # fmt: skip
    assert report.clean


async def test_one_that_is_stale_in_the_target_is_told(moved: Ends) -> None:
    for url in (moved.source, moved.target):
        execute(url, _NEW)
    execute(moved.source, _REFRESH)
    report = await verify_from(moved.served, moved.target, _SALES)
    assert (report.clean, _totals(report).stale, _totals(report).equal) == (False, True, False)
    assert [one.statement for one in report.not_usable] == [
        "REFRESH MATERIALIZED VIEW public.totals", 'REFRESH MATERIALIZED VIEW public."A rank"'
    ]  # fmt: skip
    for one in report.not_usable:
        execute(moved.target, one.statement)
    assert (await verify_from(moved.served, moved.target, _SALES)).clean


async def test_one_that_is_stale_at_the_source_stops_nothing(moved: Ends) -> None:
    for url in (moved.source, moved.target):
        execute(url, _NEW)
    execute(moved.target, _REFRESH)
    report = await verify_from(moved.served, moved.target, _SALES)
    assert (report.clean, _totals(report).equal, _totals(report).stale) == (True, False, False)
    assert "another moment" in str(_totals(report).why)


@pytest.mark.parametrize("ends", ["connection"], indirect=True)
async def test_equal_counts_hide_nothing_over_a_connection(moved: Ends) -> None:
    execute(moved.target, "UPDATE sales SET cents = 1000 WHERE id = 3; REFRESH MATERIALIZED VIEW totals")
    execute(moved.target, "UPDATE sales SET cents = 75 WHERE id = 3")
    report = await verify_from(moved.served, moved.target, _SALES)
    assert (_totals(report).source_rows, _totals(report).target_rows) == (2, 2)
    assert (report.clean, _totals(report).stale) == (False, True)


async def test_what_cannot_be_compared_is_named(moved: Ends) -> None:
    execute(moved.source, 'ALTER MATERIALIZED VIEW "A rank" RENAME TO another; REFRESH MATERIALIZED VIEW another')
    execute(moved.source, "REFRESH MATERIALIZED VIEW totals WITH NO DATA")
    report = await verify_from(moved.served, moved.target, _SALES)
    assert [(one.by, one.equal) for one in report.views] == [(None, False)] * 2
    why = ["the source's was never filled", "the source has none of this name"]
    assert [one.why for one in report.views] == (why if moved.connected else ["the API does not give it"] * 2)
    assert report.clean


@pytest.mark.parametrize("ends", ["page server"], indirect=True)
async def test_one_that_takes_too_long_to_count_is_named(moved: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    count = RestSource.count

    async def late(self: RestSource, table: CopyTable) -> int:
        if table.name != "sales":
            raise CountTimeoutError("counting took too long")
        return await count(self, table)

    monkeypatch.setattr(RestSource, "count", late)
    report = await verify_from(moved.served, moved.target, _SALES)
    assert [one.why for one in report.views] == ["the API takes too long to count it"] * 2
    assert report.clean


async def test_a_sync_until_clean_refreshes_them(moved: Ends) -> None:
    execute(moved.source, _NEW)
    assert (await sync_from(moved.served, moved.target, _SALES)).not_usable
    assert value(moved.target, "SELECT count(*) FROM totals") == 2
    report = await sync_from(moved.served, moved.target, _SALES, until_clean=True, interval=0.01)
    assert (report.complete, report.not_usable) == (True, [])
    assert value(moved.target, "SELECT count(*) FROM totals") == 3
    assert value(moved.target, 'SELECT count(*) FROM "A rank"') == 3


async def test_a_copy_analyzes_its_tables(moved: Ends) -> None:
    assert value(moved.target, "SELECT reltuples FROM pg_class WHERE relname = 'sales'") == 3
    assert value(moved.target, "SELECT count(*) FROM pg_stats WHERE tablename = 'sales'") == 3

"""Values of type xml keep their declaration, which PostgreSQL leaves out where it sends them as they are.

In an array it leaves the encoding out of the text as well: arrays are compared by their texts.
"""

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from tests.fixtures.sources import Ends
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from

PAPERS = Table("papers", MetaData(), Column("id", Integer, primary_key=True), Column("x", Text), Column("xs", Text))
_DDL = "CREATE TABLE papers (id integer PRIMARY KEY, x xml, xs xml[])"
_DECLARED = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><a b="1">ж</a>'
_TEXTS = "SELECT id, x::text, xs::text FROM papers ORDER BY 1"


async def test_the_declaration_is_kept(ends: Ends) -> None:
    """By a copy into an empty table, by a sync of a changed row, and by a copy that changes nothing."""
    try:
        execute(ends.source, "SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server was built without xml")
    ends.make(_DDL, "SELECT")
    values = [_DECLARED, '<?xml version="1.1"?><a/>', "<a/>", "two <b/> parts", None]
    for number, text in enumerate(values, start=1):
        execute(ends.source, "INSERT INTO papers VALUES (%s, %s::xml, ARRAY[%s::xml])", [number, text, text])
    written = query(ends.source, _TEXTS)
    assert written[0][1] == _DECLARED
    assert (await copy_from(ends.served, ends.target, [PAPERS])).complete
    assert query(ends.target, _TEXTS) == written
    assert (await verify_from(ends.served, ends.target, [PAPERS])).clean
    execute(ends.source, "UPDATE papers SET x = %s::xml WHERE id = 3", [_DECLARED])
    assert (await sync_from(ends.served, ends.target, [PAPERS])).complete
    assert query(ends.target, _TEXTS) == query(ends.source, _TEXTS)
    again = await copy_from(ends.served, ends.target, [PAPERS])
    assert (again.complete, again.tables[0].unchanged) == (True, len(values))

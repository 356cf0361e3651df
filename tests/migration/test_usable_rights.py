"""What a role may not read or set is named, with the statement; the copy itself is complete."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.engine import make_url

from tests.fixtures.sources import Ends, Source
from tests.migration.engine import copy_from, execute, query, value
from tests.migration.test_usable import METADATA, SALES_ROWS, SALES_SCHEMA, SEQUENCE_ROWS, SEQUENCES

pytestmark = pytest.mark.separate_server  # it makes roles

_MODELS = [METADATA.tables[name] for name in ("tickets", "cats", "dogs", "invoices", "sales")]


@pytest.fixture
def filled(ends: Ends) -> Ends:
    ends.make(SALES_SCHEMA + SEQUENCES, f"{SALES_ROWS}; {SEQUENCE_ROWS}")
    return ends


@contextmanager
def _role(url: str, grants: str) -> Iterator[str]:
    """The URL for a role of its own with these grants to {role}."""
    role = f"few_rights_{value(url, 'SELECT current_database()')}"
    execute(url, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'few'")
    try:
        execute(url, grants.format(role=f'"{role}"', database=f'"{make_url(url).database}"'))
        yield make_url(url).set(username=role, password="few").render_as_string(hide_password=False)
    finally:
        execute(url, f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')


async def test_a_source_whose_sequences_may_not_be_read(filled: Ends) -> None:
    with _role(filled.source, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}") as url:
        report = await copy_from(Source(url, "", url, is_lite=False), filled.target, _MODELS)
    assert report.complete
    assert query(filled.target, "SELECT nextval('ticket_no'), nextval('shared_ids'), nextval('invoice_no')") == [
        (26, 105, 5000)
    ]
    assert [one.name for one in report.not_usable] == ["sequence public.invoice_no"]
    ahead, unknown = report.not_seen
    assert "may not read the sequences (public.shared_ids, public.ticket_no)" in ahead
    assert "GRANT SELECT ON ALL SEQUENCES" in ahead
    assert "public.used_by_function" in unknown


async def test_a_target_whose_objects_belong_to_others(filled: Ends) -> None:
    grants = """
        GRANT CREATE ON DATABASE {database} TO {role};
        GRANT SELECT, UPDATE ON ticket_no, shared_ids, invoice_no TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON tickets, cats, dogs, invoices, sales TO {role}
    """
    with _role(filled.target, grants) as url:
        report = await copy_from(filled.served, url, _MODELS)
    assert report.complete
    named = {one.name: one for one in report.not_usable}
    why = named["materialized view public.totals"].why
    assert why.startswith("it was never filled, and refreshing it failed: the role has no right to do this")
    assert "materialized view totals" in why
    assert ("sequence public.used_by_function" in named) is filled.connected
    for one in report.not_usable:
        if "in the target" not in one.statement:
            execute(filled.target, one.statement)
    assert value(filled.target, "SELECT count(*) FROM totals") == 2
    assert value(filled.target, "SELECT nextval('used_by_function')") == (8 if filled.connected else 1)

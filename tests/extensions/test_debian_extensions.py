"""Types of extensions that Debian's packages have, as keys and as values; where Supabase keeps them, and in public."""

from collections.abc import Iterator

import pytest

from app.migration.preflight.schemas.target_schema import examine_against
from tests.extensions.debian_server import debian_server
from tests.extensions.moving import extension, models, moved_every_way, rows, schema
from tests.fixtures.sources import BOTH, Ends, Source
from tests.migration.engine import execute
from tests.preflight.looking import codes, look
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

KINDS = ["citext", "hstore", "ltree", "geometry"]


@pytest.fixture(scope="module")
def debian() -> Iterator[PostgresServer]:
    """One server for all of them."""
    with debian_server() as server:
        yield server


@pytest.fixture(scope="module", params=["public", "extensions"])
def template(request: pytest.FixtureRequest, debian: PostgresServer) -> tuple[str, str]:
    """A schema, and a database with the extensions in it, to be cloned."""
    url = debian.create_database()
    execute(
        url, f"CREATE SCHEMA IF NOT EXISTS {request.param};" + "".join(extension(k, at=request.param) for k in KINDS)
    )
    return request.param, url


@pytest.fixture(params=BOTH)
def ends(request: pytest.FixtureRequest, debian: PostgresServer, template: tuple[str, str]) -> Iterator[Ends]:
    """Two databases of it; the API looks for operators where a Supabase project keeps its extensions."""
    source, target = debian.create_database(template[1]), debian.create_database(template[1])
    try:
        if request.param == "connection":
            yield Ends(Source(source, "", source, is_lite=False), source, target)
        else:
            with PageServer(source, settings={"search_path": "public, extensions"}) as pages:
                yield Ends(Source(pages.url, pages.service_key, source, is_lite=False), source, target)
    finally:
        debian.drop_database(source)
        debian.drop_database(target)


@pytest.mark.parametrize("kind", KINDS)
async def test_values_are_moved_exactly(ends: Ends, template: tuple[str, str], kind: str) -> None:
    over_rest = not ends.connected
    await moved_every_way(ends, kind, at=template[0], keyed=not (over_rest and kind == "hstore"))


async def test_a_key_that_the_api_cannot_ask_for_is_named(ends: Ends, template: tuple[str, str]) -> None:
    """An hstore sorts by operators of its own."""
    ends.make(schema("hstore", at=template[0]), rows("hstore", at=template[0]))
    tables = models("hstore")
    report = await look(ends.served, ends.target, tables=tables, examine=examine_against(tables))
    assert codes(report, "error") == ([] if ends.connected else ["source-key-unusable keyed"])

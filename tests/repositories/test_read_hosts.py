"""The hosts of DATABASE_READ_URL, and what processes say of them together."""

import pytest

from app.common.metrics import Metrics
from app.errors import SettingsError
from app.state.cutover.standby_reads import StandbyReads, StandbyReport, together
from app.stores.postgres.database import Database
from app.stores.standbys.read_router import ReadRouter

_URL = "postgresql://bot:secret@127.0.0.1:1/salon"


def _router(url: str) -> ReadRouter:
    return ReadRouter(Database(_URL), url, Metrics(), pool_size=1, pool_timeout=1.0, statement_timeout=1.0)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("postgresql://bot:secret@s1:5433,s2/salon?sslmode=disable", ["s1:5433", "s2:5432"]),
        ("postgresql://bot:secret@/salon?host=s1,s2&port=5433,5434", ["s1:5433", "s2:5434"]),
        ("postgresql://bot:secret@s1/salon?target_session_attrs=read-only", ["s1:5432"]),
        ("postgresql://bot:secret@/salon?host=/run/postgresql", ["/run/postgresql:5432"]),
    ],
)
async def test_each_host_is_a_standby_of_its_own(url: str, names: list[str]) -> None:
    router = _router(url)
    assert [one.standby for one in router.report().standbys] == names
    for standby in router._standbys:
        address = standby._reads._pool._options
        assert (address["user"], address["password"], address["dbname"]) == ("bot", "secret", "salon")
        assert address["host"] == standby.name.rpartition(":")[0]
        assert "target_session_attrs" not in address
    await router.close()


async def test_a_url_that_is_none_names_its_setting_and_no_password() -> None:
    for url in ("mysql://bot:secret@s1/salon", "postgresql://bot:secret@s1,s2,s3:1:2/salon"):
        with pytest.raises(SettingsError) as raised:
            _router(url)
        assert "DATABASE_READ_URL" in str(raised.value)
        assert "secret" not in str(raised.value)


def test_of_a_standby_the_process_counts_that_sees_it_farthest_behind() -> None:
    near, far = StandbyReport("s1:5432", "answers", 10, 0.0), StandbyReport("s1:5432", "answers", 900, 2.5)
    away = StandbyReport("s2:5432", "away", None, None)
    found = together([None, StandbyReads(3, 1, (near, away)), StandbyReads(5, 1, (far,))])
    assert found == StandbyReads(8, 2, (far, away))
    assert found.share == 0.8
    assert StandbyReads.of(found.document()) == found
    assert together([None]) is None

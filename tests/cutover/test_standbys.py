"""A handover to PostgreSQL with standbys that are late: no read at live is older than the handover."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg

from app.cli.commands.cutover.status import status_document
from app.cutover.moves.status import look
from app.cutover.moves.steps import advance
from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Stage
from app.settings import Settings
from tests.data_layer.test_standbys import opened, share
from tests.fixtures.streaming import DATABASE, read_url
from tests.support.streaming import Cluster
from tests.support.supabase import SupabaseServer

_KEY = {"yclients_id": 7, "company_id": 1}


async def test_no_read_is_older_than_the_handover(
    standbys: Cluster, lite_server: SupabaseServer, tmp_path: Path
) -> None:
    with psycopg.connect(lite_server.database_url) as source:
        source.execute("TRUNCATE clients")
    standbys.primary.execute("UPDATE botdata.stage SET stage = 'shadow', moved_at = now()", DATABASE)
    standbys.wait_for_standbys()
    for node in standbys.standbys:
        node.configure(recovery_min_apply_delay="20s")
    settings = Settings(
        _env_file=None, supabase_url=lite_server.url, supabase_key=lite_server.service_key,
        database_url=standbys.primary.url(DATABASE), database_read_url=read_url(standbys), cutover_stage="database",
        cutover_spool=tmp_path, mirror_wait=10.0, note_timeout=20.0,
    )  # fmt: skip
    async with opened(settings) as (data, router):
        written = await data.upsert_client({**_KEY, "name": "Анна", "phone": "79000000007"})
        assert written.success, written.error
        assert router._mark.current is not None
        before = router._mark.current.lsn
        outcome = await advance(settings, force="a test")
        assert outcome.ok, outcome
        membership = data._backend.membership  # type: ignore[attr-defined]
        assert isinstance(data._backend, StagedBackend)
        async with asyncio.timeout(60):
            while membership.stage is not Stage.LIVE:  # noqa: ASYNC110 - what another task finds out
                await asyncio.sleep(0.001)
        for _ in range(20):
            answer = await data.get_client_by_id(7, 1)
            assert answer.data is not None
        assert router._mark.current.lsn > before
        await _is_shown(settings, state="answers")
        assert share(router)[0] == 0
        for node in standbys.standbys:
            node.configure(recovery_min_apply_delay="")
        standbys.wait_for_standbys()
        async with asyncio.timeout(60):
            while share(router)[0] == 0:
                answer = await data.get_client_by_id(7, 1)
                assert answer.data is not None
                await asyncio.sleep(0.01)


async def _is_shown(settings: Settings, *, state: str) -> None:
    """What the process says of its standbys is in `botdata cutover status`, within two reports."""
    async with asyncio.timeout(60):
        while True:
            (process,) = status_document(await look(settings))["processes"]
            reads = process["reads"]
            if [one["state"] for one in reads["standbys"]] == [state] * 2 and reads["by_primary"] >= 20:
                break
            await asyncio.sleep(0.2)
    assert reads["by_standbys"] == 0
    for standby in reads["standbys"]:
        assert standby["lag_bytes"] > 0
        assert standby["lag_seconds"] < 25

"""The sequences of the target leave a gap behind the ids of Supabase: raised where they must be, and never lowered."""

from __future__ import annotations

from app.cutover.moves.gates.id_gap import raise_sequences
from app.cutover.moves.gates.objections import objections
from app.cutover.stages import Stage
from tests.fixtures.cutover import MakeSettings, Pair

_CLIENT = "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES ({0}, {0}, 1, '7')"


def _next(pair: Pair, table: str = "clients") -> int:
    ((number,),) = pair.ask(f"SELECT nextval('{table}_id_seq')")
    return int(number)


async def test_every_sequence_is_raised_past_the_highest_id_of_either_store(
    pair: Pair, settings_of: MakeSettings
) -> None:
    pair.ask(_CLIENT.format(500), store="source")
    pair.ask(_CLIENT.format(7000))
    pair.ask("INSERT INTO services (id, yclients_id, title) VALUES (30, 1, 's')", store="source")
    raised = {gap.table: (gap.source_highest, gap.highest) for gap in await raise_sequences(settings_of())}
    with_sequences = {
        name.removesuffix("_id_seq")
        for (name,) in pair.ask("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")
    } - {"whatsapp_auth", "whatsapp_keys"}
    assert raised.keys() == with_sequences
    assert (raised["clients"], raised["services"]) == ((500, 7000), (30, 30))
    assert (_next(pair), _next(pair, "services"), _next(pair, "staff")) == (1_007_000, 1_000_030, 1_000_000)


async def test_none_is_lowered_and_one_that_is_safe_stays(pair: Pair, settings_of: MakeSettings) -> None:
    pair.ask(_CLIENT.format(500), store="source")
    pair.ask("SELECT setval('clients_id_seq', 5_000_000)".replace("_000", "000"))
    assert "clients" not in {gap.table for gap in await raise_sequences(settings_of())}
    assert _next(pair) == 5_000_001
    assert await raise_sequences(settings_of()) == []  # half of the gap may be used up
    pair.ask(_CLIENT.format(4_500_000), store="source")
    assert await raise_sequences(settings_of()) == []
    pair.ask(_CLIENT.format(4_600_000), store="source")
    assert [gap.table for gap in await raise_sequences(settings_of())] == ["clients"]
    assert _next(pair) == 5_600_000


async def test_a_column_that_cannot_hold_the_gap_is_named(pair: Pair, settings_of: MakeSettings) -> None:
    pair.ask(_CLIENT.format(2_147_000_000), store="source")
    settings = settings_of()
    assert "clients" not in {gap.table for gap in await raise_sequences(settings)}
    found = [one for one in await objections(settings, Stage.LIVE) if "clients.id" in one.what]
    assert [one.what for one in found] == [
        "clients.id ends at 2,147,483,647, and a gap of 1,000,000 past 2,147,000,000 does not fit"
    ]
    assert "CUTOVER_ID_GAP" in found[0].remedy
    smaller = settings_of(cutover_id_gap=100_000)
    assert [gap.table for gap in await raise_sequences(smaller)] == ["clients"]
    assert not [one for one in await objections(smaller, Stage.LIVE) if "clients.id" in one.what]
    assert _next(pair) == 2_147_100_000

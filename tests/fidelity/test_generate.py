"""The generator: the same pair for the same seed, every hazard before long, and databases that can be made."""

from __future__ import annotations

import psycopg
from sqlalchemy import MetaData

from tests.fidelity.column_kinds import KINDS
from tests.fidelity.generate import FEATURES, generate, turns
from tests.fidelity.key_kinds import KEYS
from tests.fidelity.narrowing import FITTING, NARROWING
from tests.fidelity.pair import Offers
from tests.fidelity.paths import path_of
from tests.fidelity.places import FIXED, offers_of
from tests.fidelity.server_settings import SETTINGS
from tests.support.postgres import PostgresServer


def test_a_seed_makes_the_same_pair() -> None:
    assert [generate(seed) for seed in range(30)] == [generate(seed) for seed in range(30)]
    assert generate(1) != generate(2)


def test_every_hazard_comes_within_one_round() -> None:
    rounds = len(turns())
    assert rounds <= 300
    seen = {hazard.partition(" (")[0] for seed in range(rounds) for hazard in generate(seed).hazards}
    seen |= {hazard for seed in range(rounds) for hazard in generate(seed).hazards}
    wanted = {*FEATURES, *(kind.name for kind in (*KINDS, *NARROWING, *FITTING)), *(kind.name for kind in KEYS)}
    wanted |= {f"{name} {value} at the {side}" for name, value in SETTINGS for side in ("source", "target")}
    assert wanted - seen == set()


def test_most_pairs_are_to_be_moved() -> None:
    refusable = {*(kind.name for kind in NARROWING), "no usable key at the target", "row-level security on the owner"}
    pairs = [generate(seed) for seed in range(300)]
    plain = [pair for pair in pairs if refusable.isdisjoint(one.partition(" (")[0] for one in pair.hazards)]
    assert len(plain) > 200


def test_servers_that_offer_more_get_more() -> None:
    offers = Offers(18, True, ("en-US-x-icu",), ("es_AR.UTF-8",))
    seen = {hazard for seed in range(len(turns(offers))) for hazard in generate(seed, offers).hazards}
    assert {"xml", "text key, COLLATE en-US-x-icu", "lc_monetary 'es_AR.UTF-8' at the target"} <= seen


def test_pairs_can_be_made(postgres_server: PostgresServer, fresh_database: str) -> None:
    offers = offers_of(postgres_server.admin_url)
    for seed in range(0, len(turns(offers)), 3):
        pair = generate(seed, offers)
        scope: dict[str, object] = {}
        exec(pair.models, scope)
        assert isinstance(scope["METADATA"], MetaData)
        with psycopg.connect(fresh_database, autocommit=True) as connection:
            connection.execute(FIXED)
            for side in (pair.source, pair.target):
                with connection.transaction(force_rollback=True):
                    connection.execute(side.ddl.encode())


def test_every_path_is_taken() -> None:
    taken = {path_of(generate(seed)) for seed in range(30)}
    assert taken == {(kind, journey) for kind in ("connection", "rest") for journey in ("forward", "again", "reverse")}
    mended = [path_of(pair)[1] for pair in map(generate, range(300)) if pair.mend]
    assert mended.count("forward") > len(mended) / 2

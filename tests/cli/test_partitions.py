"""A partitioned table beside its partitions, as reflection gives them: each row is moved once, by every command."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.command import Command
from tests.migration.engine import execute, row_texts, value
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

PARTS = """
CREATE TABLE part (id integer, d date, v text, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);
CREATE TABLE part_a PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE part_b PARTITION OF part DEFAULT PARTITION BY LIST (id);
CREATE TABLE part_b_all PARTITION OF part_b DEFAULT;
"""
ROWS = "INSERT INTO part SELECT i, date '2024-01-01' + i * 30, 'p' FROM generate_series(1, 30) i"
MODELS = ("--metadata", "tests.cli.reflected_models:Base")


@pytest.fixture(params=["over REST", "over a connection"])
def settings(
    request: pytest.FixtureRequest, databases: PostgresServer, fresh_database: str
) -> Iterator[dict[str, str]]:
    """The settings of a source with rows and of a target without; the source's database is SOURCE."""
    sys.modules.pop("tests.cli.reflected_models", None)
    source = databases.create_database()
    execute(source, PARTS + ROWS)
    execute(fresh_database, PARTS)
    given = {"DATABASE_URL": fresh_database, "SOURCE": source}
    if request.param == "over a connection":
        yield given | {"MIGRATION_SOURCE": source}
    else:
        with PageServer(source) as pages:
            yield given | {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
    databases.drop_database(source)


def test_every_row_is_moved_once(command: Command, settings: dict[str, str]) -> None:
    def well(*line: str) -> dict[str, Any]:
        outcome = command(*line, *MODELS, "--json", **settings)
        assert outcome.code == 0, outcome.out + outcome.err
        return json.loads(outcome.out)

    over_connection = "MIGRATION_SOURCE" in settings
    looked = well("preflight")
    assert looked["tables"] == [{"table": "part", "source_rows": 30, "target_rows": 0}]
    partitions = [one["table"] for one in looked["findings"] if one["code"] == "target-partition"]
    assert partitions == ["part_a", "part_b", "part_b_all"]
    assert [one["tried"] for one in well("copy", "--dry-run")["tables"]] == [30]
    assert [one["inserted"] for one in well("copy")["tables"]] == [30]
    assert [one["unchanged"] for one in well("copy")["tables"]] == [30]
    assert [one["equal"] for one in well("verify")["tables"]] == [30]
    execute(settings["SOURCE"], "UPDATE part SET v = 'q' WHERE id IN (3, 29); DELETE FROM part WHERE id = 4")
    assert [
        (one["updated"], one["deleted"]) for one in well("sync", "--until-clean", "--interval", "0.1")["tables"]
    ] == [(2, 1)]
    execute(settings["DATABASE_URL"], "UPDATE part SET v = 'r' WHERE id = 5")
    assert [one["fixed"] for one in well("verify", "--fix")["tables"]] == [1]
    assert well("migrate")["verify"]["tables"][0]["equal"] == 29
    if over_connection:  # over REST it is for the server there to write to a partitioned table
        execute(settings["DATABASE_URL"], "UPDATE part SET v = 's' WHERE id = 6")
        assert [one["updated"] for one in well("sync", "--reverse", "--overwrite", "--interval", "0.1")["tables"]] == [
            1
        ]
    assert row_texts(settings["DATABASE_URL"], "part") == row_texts(settings["SOURCE"], "part")
    assert json.loads(command("status", "--json", **settings).out)["ok"]


def test_a_partition_that_is_named_is_moved_alone(command: Command, settings: dict[str, str]) -> None:
    def moved(*line: str) -> list[tuple[str, int]]:
        outcome = command(*line, *MODELS, "--json", **settings)
        assert outcome.code == 0, outcome.out + outcome.err
        return [(one["table"], one.get("inserted", one.get("equal"))) for one in json.loads(outcome.out)["tables"]]

    assert moved("copy", "--tables", "part_a") == [("part_a", 12)]
    assert value(settings["DATABASE_URL"], "SELECT count(*) FROM part") == 12
    assert moved("verify", "--tables", "part_a") == [("part_a", 12)]
    assert moved("copy") == [("part", 18)]  # what came by the partition's name is the same source's
    assert moved("verify", "--tables", "part_a,part_b_all") == [("part_a", 12), ("part_b_all", 18)]
    assert moved("sync", "--tables", "part_b_all") == [("part_b_all", 0)]

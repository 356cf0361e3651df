"""An adopted project is rehearsed up to the sync, without its triggers."""

import json

from tests.adopt.conftest import Project
from tests.cli.command import start
from tests.cli.test_json import check_document
from tests.rehearsal.left import databases_left, not_removed


def test_it_ends_after_the_sync_and_says_so(edges: Project, fresh_database: str) -> None:
    words = ("rehearse", "--yes", "--json", "--accept-unknown-disk", "--source", edges.source)
    with start(*words, directory=edges.directory, DATABASE_URL=fresh_database) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    document = check_document(out, "rehearse")
    assert [step["state"] for step in document["steps"]] == ["passed"] * 5 + ["left out"]
    assert document["steps"][-1]["said"].endswith("other projects stop after the sync")
    assert document["triggers_disabled"] == 1
    assert json.loads(out)["next"].startswith("botdata migrate --source")
    assert (databases_left(fresh_database), not_removed(fresh_database)) == ([], 0)

"""A salon that has moved to another server is changed by no command here, and each says what to do instead."""

from __future__ import annotations

import re

from tests.cli.command import Command
from tests.relocation.salon import texts

# Of the commands that write to the tables, to the tool's own, or to the source by what they hold.
_LINES = """
upgrade
migrate
copy
copy --dry-run
sync
sync --dry-run
sync --reverse --overwrite
sync --follow --by stream
verify --fix
quarantine replay
cutover advance --force X
cutover back --force X
cutover finish --yes
cutover table bookings postgres
cutover table bookings supabase
cutover forget p
mirror drain
uninstall --yes
"""


def test_no_command_changes_it(command: Command, salons: str, source_database: str) -> None:
    stores = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "sb_secret_x"}
    here = {"MIGRATION_SOURCE": source_database, "DATABASE_URL": salons, "DATABASE_SCHEMA": "t1", **stores}
    assert command("schema", "move-out", "t1", "--to", "t1.zip", **here).code == 0
    before = [texts(salons, schema) for schema in ("t1", "t1_botdata")]
    changed = {}
    for line in filter(None, _LINES.splitlines()):
        done = command(*line.split(), **here)
        said = done.err + done.out
        # What drops what is left here is a way on, too.
        if done.code != 1 or "moved to another server" not in said or "botdata schema " not in said:
            changed[line] = done.code, said
        assert "TRIGGER" not in said, line  # by which a person would let others write to the tables
    assert changed == {}
    assert [texts(salons, schema) for schema in ("t1", "t1_botdata")] == before
    for line in ("cutover status", "verify"):
        said = command(*line.split(), **here)
        assert re.search(r"^Next: .*at the server where", said.out, re.MULTILINE), (line, said)

"""Commands at a target whose schema `botdata` an older version made: each names the upgrade, which lets it go on."""

from tests.cli.command import Command
from tests.cutover.test_taken_over import make_version
from tests.migration.engine import execute
from tests.support.page_server import PageServer

_LINES = (
    "preflight", "copy", "migrate", "sync", "sync --reverse --accept source-triggers-unseen", "verify", "verify --fix",
    "status", "cutover status", "cutover advance", "cutover back", "mirror status", "mirror drain", "mirror retry",
)  # fmt: skip


def test_each_names_the_upgrade(command: Command, pages: PageServer, database_url: str) -> None:
    settings = {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}
    make_version(database_url, 4)
    execute(database_url, "UPDATE botdata.stage SET stage = 'live', moved_at = now()")
    for line in _LINES:
        done = command(*line.split(), **settings)
        said = done.out + done.err
        assert (done.code, "botdata upgrade" in said, "SQLSTATE" in said) == (1, True, False), (line, said)
    upgraded = command("upgrade", **settings)
    assert (upgraded.code, "schema botdata: from version 4 to " in upgraded.out) == (0, True)
    for line in ("status", "cutover status", "mirror status", "mirror drain", "preflight"):
        done = command(*line.split(), **settings)
        assert "botdata upgrade" not in done.out + done.err, (line, done)

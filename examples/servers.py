"""Both stores for trying a cutover: a Supabase-compatible server with a made-up salon, and an empty PostgreSQL.

    python examples/servers.py salon

The directory gets the servers' data, and a file `.env` with their addresses, so that the commands of botdata and
examples/bot.py work from inside it. Ctrl-C stops the servers; the same command starts them again, data and all.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from app.embedded import EmbeddedPostgres, EmbeddedServerError, SupabaseLite
from app.embedded.salon import fill_salon
from app.schema import revisions


def main(directory: Path) -> None:
    """Run until Ctrl-C or SIGTERM."""
    is_new = not (directory / ".env").exists()
    with EmbeddedPostgres.start(directory / "databases") as postgres:
        if is_new:
            for database in ("supabase", "salon"):
                postgres.create_database(database, replace=True)
            revisions.upgrade(postgres.url("supabase"))
            fill_salon(postgres.url("supabase"))
        with SupabaseLite.start(postgres, "supabase", directory / "supabase") as supabase:
            settings = {
                "SUPABASE_URL": supabase.url,
                "SUPABASE_KEY": supabase.service_key,
                "DATABASE_URL": postgres.url("salon"),
                "CUTOVER_STAGE": "database",
                "CUTOVER_SPOOL": str(directory / "spool"),
            }
            (directory / ".env").touch(mode=0o600)
            (directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
            print(f"Both stores run; go on in another terminal: cd {directory}", flush=True)
            while True:
                signal.pause()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))  # the servers are stopped on the way out
    try:
        main(Path(sys.argv[1]).absolute())
    except EmbeddedServerError as error:
        sys.exit(str(error))

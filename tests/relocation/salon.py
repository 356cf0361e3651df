"""A salon that is to move, and its rows as text."""

from app.schema import revisions
from tests.fixtures.servers import with_tool_schema
from tests.migration.engine import add_clients, execute, query
from tests.support.other_schemas import in_schema, searching
from tests.support.postgres import PostgresServer

# The schemas of salons and of the tool beside them.
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(t|s)[0-9]' ORDER BY 1"
_OF_ALL = "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind = 'r' ORDER BY 1"


def salon_in(database: str) -> str:
    """The address for psycopg of the salon `t1`."""
    return searching(database, "t1,t1_botdata")


def salon_template(server: PostgresServer) -> str:
    """A database with the salon `t1`, which has rows and is at the stage `complete`."""
    return server.template("salon_template", _make_salon)


def _make_salon(database: str) -> None:
    revisions.upgrade(in_schema(database, "t1"))
    with_tool_schema(in_schema(database, "t1"))
    url = salon_in(database)
    add_clients(url, 40)
    execute(url, "UPDATE clients SET notes = E'Ё\\t\\\\N\\n' || id, branch_ids = '[0:1]={1,2}' WHERE id % 3 = 0")
    execute(url, "UPDATE clients SET created_at = 'infinity' WHERE id = 7")
    execute(url, "SELECT setval('clients_id_seq', 4000); DELETE FROM clients WHERE id = 30")
    execute(url, "INSERT INTO whatsapp_auth (company_id, creds) VALUES ('ё', '{\"k\": 1.50}'), ('Я', '{}')")
    execute(
        url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value, expires_at) "
        "VALUES ('ё', 'a', 'B', '1', '2001-01-01')",
    )
    execute(url, "UPDATE stage SET stage = 'complete', moved_at = now(), moves = 5, timeline = 1, lsn = 'F/0'")
    execute(url, "INSERT INTO outbox (process, table_name, key, unsure) VALUES ('gone', 'clients', '{1}', false)")
    execute(url, "INSERT INTO runs (command, source, state) VALUES ('copy', 'p.supabase.co', 'complete')")
    execute(
        url,
        "INSERT INTO quarantine (run_id, table_name, key, row_text, sqlstate, message) "
        "VALUES (1, 'clients', '{9}', '{}', '23505', 'm')",
    )


def texts(url: str, schema: str) -> dict[str, list[str]]:
    """Every row of the salon's own tables as text."""
    names = [name for (name,) in query(url, _OF_ALL.format(schema))]
    return {name: [row for (row,) in query(url, f"SELECT t::text FROM {schema}.{name} t ORDER BY 1")] for name in names}

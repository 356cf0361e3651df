"""How the two stores are reached: PostgreSQL, Supabase, and the form that rows take on the way."""

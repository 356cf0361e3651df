"""botdata: moves a salon bot from Supabase to its own PostgreSQL, and is the data layer it lives on."""

"""While PostgreSQL is the authority: keys are recorded in the outbox with their rows, and sent to Supabase."""

"""While Supabase is the authority: keys are noted before they are written, and their rows mirrored to PostgreSQL."""

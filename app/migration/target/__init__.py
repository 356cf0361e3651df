"""The PostgreSQL that rows are moved to: sessions, what it does by itself, and what is made usable at the end."""

"""A source that is a PostgreSQL, over connections."""

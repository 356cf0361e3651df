"""The migration engine: moves the rows of any MetaData from a source to a PostgreSQL target and proves it."""

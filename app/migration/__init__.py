"""The migration engine: moves the rows of any MetaData from a source to a PostgreSQL target and proves it.

preflight    both ends looked at, nothing written
sources      what gives rows: Supabase over REST, or a PostgreSQL over connections; and what a reverse sync writes to
tables       what is moved: tables, columns, keys and types
target       the PostgreSQL that is written to, and the tool's own tables in it
load         pages into the target, refused rows apart
copy         all rows, page by page or in key ranges; completeness; the dry run
quarantine   rows that were refused
verify       the rows of both ends compared, by text or by hashes
sync         changes and deletions, in either direction
runs         what is remembered of each start, and reported
"""

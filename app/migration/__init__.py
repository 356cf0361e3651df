"""The migration engine: moves the rows of any MetaData from a source to a PostgreSQL target and proves it.

migrate      the whole move
preflight    both ends looked at, nothing written
sources      what gives rows: Supabase over REST, or a PostgreSQL over connections
tables       what is moved: tables, columns, keys and types
target       the PostgreSQL that is written to: its session, triggers, foreign keys, sequences
load         pages into the target, refused rows apart
keys         the keys that a source holds, and the target's rows by their keys
copy         all rows, page by page or in key ranges; completeness; the dry run
quarantine   rows that were refused: shown, edited, loaded again
whole        tables whose rows no key tells apart
verify       the rows of both ends compared, by text or by hashes
sync         changes and deletions, in either direction
stream       the same by logical decoding
inventory    what a source holds beside its rows
runs         what is remembered of each start, and reported
"""

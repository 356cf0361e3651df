"""Locks in the target that keep the writers of one key apart, each held until its transaction ends.

A mirror holds the key, so that one at a time reads the authority's row and writes it; and it shares the table with
other mirrors. Whatever brings rows over in bulk, such as a sync's page, holds the table alone while it writes, so that
it does not put an older row over a mirror's. It reads them under the lock, or asks there what mirrors have written
since. Each key begins with the tool's schema (see app.common.schemas), so that no salon waits for another's.
"""

# %(table)s stands for the table's name.
_TABLE = "hashtextextended('<botdata schema> mirror ' || %(table)s::text, 0)"
SHARE_TABLE = f"SELECT pg_advisory_xact_lock_shared({_TABLE})"
HOLD_TABLE = f"SELECT pg_advisory_xact_lock({_TABLE})"
# PostgreSQL lets those who share a row pass by one who waits to have it alone, for ever; these locks are given in turn.
# For transactions that share the stage's row over a request, and for the command that moves it.
_STAGE = "hashtextextended('<botdata schema> stage', 0)"
SHARE_STAGE = f"pg_advisory_xact_lock_shared({_STAGE})"
HOLD_STAGE = f"SELECT pg_advisory_xact_lock({_STAGE})"
# And for those that share it for a moment: the condition of a SELECT ... FOR SHARE of the row, which waits before it.
_TURN = "hashtextextended('<botdata schema> stage, for a moment', 0)"
IN_TURN = f"pg_advisory_xact_lock_shared({_TURN}) IS NOT NULL"
HOLD_TURN = f"SELECT pg_advisory_xact_lock({_TURN})"
# %(keys)s is a JSON array of natural keys, each an array of texts, as app.stores.codec.json_rows.encode writes it. In
# one order, so that two batches do not wait for each other.
HOLD_KEYS = """
SELECT pg_advisory_xact_lock(number)
FROM (SELECT DISTINCT hashtextextended('<botdata schema> key ' || %(table)s::text || ' ' || k::text, 0) AS number
      FROM json_array_elements(%(keys)s::json) k ORDER BY 1) numbers
"""
# A row for each key, in their order: its position, from 1, and whether it was free, and is held now.
TRY_EACH_KEY = """
SELECT position, pg_try_advisory_xact_lock(
    hashtextextended('<botdata schema> key ' || %(table)s::text || ' ' || key::text, 0))
FROM json_array_elements(%(keys)s::json) WITH ORDINALITY AS k (key, position) ORDER BY position
"""

"""The migration engine: moves the rows of any MetaData from a source to a PostgreSQL target and proves it.

preflight/           both ends looked at, nothing written; dry_run (trial_table): a copy into temporary tables
source, pages        what a source gives: rest_source, or postgres_source (connection, retry, snapshot); key_role
copy                 over REST page by page (load); over connections copy_streams (ranges, range_loader, streams)
halving              finds the rows that are refused; quarantine, quarantine_file, replay; foreign_keys, sequences
completeness         is it all there: the sets of keys of both sides; runs, status: what is remembered of each start
verify               compare_pages (compare, findings) or compare_hashes (hashes); sample; fix
sync                 sync_forward, sync_reverse (writer: rest_writer, postgres_writer); versions, replaced: old images
target, tool_schema  the connection that is written to, and the tool's own tables in it; statements: the SQL
tables, metadata     what is moved: columns, keys and types; report: what each step says at its end
"""

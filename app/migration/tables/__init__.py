"""What the engine knows of a table, of its columns and keys, and of rights on it."""

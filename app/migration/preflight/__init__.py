"""Looks at both ends before anything is written: schemas, data, servers."""

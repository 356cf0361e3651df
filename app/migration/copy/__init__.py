"""Copying all rows: page by page or in key ranges, resumable, and proved to be complete."""

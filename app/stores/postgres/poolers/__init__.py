"""Connections through a pooler, and how one is told from a server."""

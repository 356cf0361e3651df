"""Rows and values between PostgreSQL's text, JSON and Python."""

"""The servers and helpers that tests share."""

"""Telling people what happens, by NOTIFY_URL and NOTIFY_COMMAND: docs/notifications.md."""

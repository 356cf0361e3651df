"""Keeps what requests ask for out of the logs of the HTTP libraries: queries hold phone numbers and names."""

import logging

import httpx


class _HideHeaders(logging.Filter):
    """Takes the headers out of the answers that httpcore logs: Content-Location repeats the query."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).partition(" return_value=")[0]
        return True


class _HideQuery(logging.Filter):
    """Takes the query out of the URLs that httpx logs: it holds phone numbers and names."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                str(argument.copy_with(query=None)) if isinstance(argument, httpx.URL) else argument
                for argument in record.args
            )
        return True


def hide_queries() -> None:
    """Put the filters on the two loggers, once."""
    for name, hide in (("httpx", _HideQuery), ("httpcore.http11", _HideHeaders)):
        logger = logging.getLogger(name)
        if not any(isinstance(known, hide) for known in logger.filters):
            logger.addFilter(hide())

"""The two ways to tell somebody: a webhook and a program. What a try came to is a short code, and never more."""

import asyncio
import json
import os
import shlex
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.settings import Settings

URL, COMMAND = "url", "command"
LONGEST = 5.0  # seconds that a try may take
_INHERITED = ("PATH", "HOME", "LANG")


@dataclass(frozen=True, slots=True)
class TryOutcome:
    """What came of a try.

    Attributes:
        code: such as "http 200", "timeout" or "exit 1".
    """

    ok: bool
    code: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST of the document as JSON. Redirects are not followed, since an address elsewhere was not agreed to."""

    url: str
    name: str = URL

    async def send(self, document: Mapping[str, Any]) -> TryOutcome:
        """Send it; ok where the status is one of 2xx. The answer's body is not read."""
        import httpx

        from app.stores.supabase.quiet_logs import hide_queries

        hide_queries()
        limits = dict.fromkeys(("connect", "read", "write", "pool"), LONGEST)
        try:
            # A transport of its own, since a client logs each address.
            async with asyncio.timeout(LONGEST), httpx.AsyncHTTPTransport() as transport:
                request = httpx.Request("POST", self.url, json=document, extensions={"timeout": limits})
                answer = await transport.handle_async_request(request)
                status = answer.status_code
                await answer.aclose()
        except (TimeoutError, httpx.TimeoutException):
            return TryOutcome(False, "timeout")
        except httpx.ConnectError:
            return TryOutcome(False, "unreachable")
        except (httpx.HTTPError, httpx.InvalidURL, OSError):  # OSError: a certificate's file is not there
            return TryOutcome(False, "no answer")
        return TryOutcome(200 <= status < 300, f"redirect {status}" if 300 <= status < 400 else f"http {status}")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that finds the event in its environment, which holds nothing else but PATH, HOME and LANG."""

    words: tuple[str, ...]
    name: str = COMMAND

    async def send(self, document: Mapping[str, Any]) -> TryOutcome:
        """Run it; ok where it ends with exit code 0 in time. What it prints is dropped."""
        nothing = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self.words, env=_environment(document), stdin=nothing, stdout=nothing, stderr=nothing,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError):
            return TryOutcome(False, "not started")
        try:
            async with asyncio.timeout(LONGEST):
                code = await process.wait()
        except TimeoutError:
            return TryOutcome(False, "timeout")
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # what it has started, too
                await process.wait()
        return TryOutcome(code == 0, f"exit {code}")


# A way to tell somebody: its name is that in the rows that wait for it.
Channel = Webhook | Program


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """The ways that the settings name; none: nobody wants to be told."""
    found: list[Channel] = []
    if settings.notify_url is not None:
        found.append(Webhook(settings.notify_url.get_secret_value()))
    if settings.notify_command is not None:
        found.append(Program(tuple(shlex.split(settings.notify_command.get_secret_value()))))
    return tuple(found)


def _environment(document: Mapping[str, Any]) -> dict[str, str]:
    told = {
        f"BOTDATA_{name.upper()}": "" if value is None else value if isinstance(value, str) else json.dumps(value)
        for name, value in document.items()
    }
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | told

"""The one way to Supabase: its client, one request at a time, each answer looked at before it is believed."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from app.common.background import BackgroundTasks, end_all
from app.common.schemas import DATA
from app.errors import SettingsError, UnavailableError
from app.stores.supabase.answers import records_of, refuse_other_answer, refuse_strange_answer, rows_told
from app.stores.supabase.errors import UNDECODABLE, error_of, translated_transport_errors
from app.stores.supabase.quiet_logs import hide_queries
from app.stores.supabase.request_parameters import request_of, send

if TYPE_CHECKING:
    from postgrest import AsyncPostgrestClient, AsyncRequestBuilder


_Answer = TypeVar("_Answer")
_PROJECT_URL = re.compile(r"https?://.+")
_NO_URL = "SUPABASE_URL is not a URL; it should be https://PROJECT.supabase.co"
# Supabase's load balancer, which has replicas answer reads, and the replicas themselves: the project's name is longer.
_READS_REPLICAS = re.compile(r"https?://([a-z0-9]{20})-[a-z0-9-]+\.supabase\.co(:\d+)?")


@cache
def _authorities() -> ssl.SSLContext:
    """What a session verifies servers by: reading all the authorities takes longer than the session."""
    return httpx.create_ssl_context()


async def _whole_client(url: str, key: str, session: httpx.AsyncClient) -> AsyncPostgrestClient:
    from supabase import AsyncClient, AsyncClientOptions

    options = AsyncClientOptions(httpx_client=session, postgrest_client_retry=False)
    return (await AsyncClient.create(url, key, options)).postgrest


async def _tables_client(url: str, key: str, session: httpx.AsyncClient) -> AsyncPostgrestClient:
    from postgrest import AsyncPostgrestClient

    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    return AsyncPostgrestClient(f"{url}/rest/v1", headers=headers, http_client=session, retry_enabled=False)


class SupabaseRest:
    """A client of Supabase's tables and the HTTP session under it.

    Made with `await SupabaseRest.open(url, key)`, ended with `await rest.close()`; or used as a context.
    """

    def __init__(self, client: AsyncPostgrestClient, session: httpx.AsyncClient, connections: int) -> None:
        self._client = client
        self._session = session
        self._turns = asyncio.Semaphore(connections)
        self._sending = BackgroundTasks()

    @classmethod
    async def open(
        cls,
        url: str,
        key: str,
        *,
        request_timeout: float = 30.0,
        connections: int = 20,
        whole_client: bool = False,
        may_lag: bool = False,
    ) -> Self:
        """Make the client; nothing is sent yet.

        Args:
            url: the project's URL, without /rest/v1.
            key: a service key.
            request_timeout: seconds for one request, and for its turn before that.
            connections: requests at a time; others wait for their turn.
            whole_client: by the `supabase` client, with what else it has, as a bot knows it; else by the part of it
                that is for tables, which a command starts a good deal sooner with.
            may_lag: answers may be as of before the last write; a mirror would take them for the newest rows.

        Raises:
            SettingsError: the URL or key is not one, or replicas answer there.
        """
        if urlsplit(url.strip()).path.startswith("/dashboard"):
            raise SettingsError("SUPABASE_URL is the dashboard's; the project's is https://PROJECT.supabase.co")
        if not re.fullmatch(r"[\x21-\x7e]+", key.strip()):
            raise SettingsError("SUPABASE_KEY holds characters that no key has; copy it again, unmasked, on one line")
        address = url.strip().rstrip("/").removesuffix("/rest/v1")
        if not _PROJECT_URL.fullmatch(address):
            raise SettingsError(_NO_URL)
        if not may_lag and (replicas := _READS_REPLICAS.fullmatch(address)):
            raise SettingsError(
                "SUPABASE_URL is an address whose reads replicas answer, which may lack the last writes; the project's "
                f"own is https://{replicas[1]}.supabase.co"
            )
        # HTTP/1.1: on large pages several times faster than HTTP/2 in Python. No redirects: they would carry the key.
        session = httpx.AsyncClient(
            timeout=httpx.Timeout(request_timeout, connect=min(request_timeout, 10.0)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            verify=_authorities(),
        )
        try:
            client = await (_whole_client if whole_client else _tables_client)(address, key.strip(), session)
        except (ValueError, UnicodeError, httpx.InvalidURL):
            await session.aclose()
            raise SettingsError(_NO_URL) from None
        hide_queries()
        return cls(client, session, connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def table(self, name: str, schema: str = DATA) -> AsyncRequestBuilder:
        """Begin a request on a table, with the client's own builder; its headers name the schema."""
        return (self._client if schema in {DATA, "public"} else self._client.schema(schema)).table(name)

    async def send(self, builder: Any, *, writing: bool = False) -> bytes:
        """Carry a request out once and return the body as it came.

        Args:
            builder: what `table()` gave, with its select, filters and so on.
            writing: a request whose answer is lost may have been carried out.

        Raises:
            StoreError: one of its kinds, see app.errors.
        """
        return (await self.respond(builder, writing=writing)).content

    async def respond(
        self,
        builder: Any,
        *,
        writing: bool = False,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        before_sending: Callable[[], None] = lambda: None,
    ) -> httpx.Response:
        """As `send`, with the whole response.

        Args:
            content: a JSON body instead of the builder's own, sent as it is.
            before_sending: called when the request with this body has its connection; should it raise, the server
                never gets the body, so that it does nothing.
        """
        with translated_transport_errors(writing=writing):
            if content is None:
                response = await self._to_its_end(lambda: send(builder, headers))
            else:
                method, address, parameters, sent = request_of(builder)
                sent.update({"Content-Type": "application/json", "Content-Length": str(len(content))})
                response = await self._to_its_end(
                    lambda: self._session.request(
                        method,
                        address,
                        content=_body(content, before_sending),
                        params=parameters,
                        headers=sent,
                    )
                )
        if not response.is_success:
            raise error_of(response, writing=writing)
        if writing:
            refuse_strange_answer(response)
        else:
            refuse_other_answer(response)
        return response

    async def read_at_most(self, builder: Any, limit: int) -> tuple[bytes, int | None] | None:
        """Carry a reading request out once; None, and no more is read, where the body is longer than `limit` bytes.

        Returns:
            The body, and how many rows it should hold (see `rows_told`).
        """
        with translated_transport_errors(writing=False):
            return await self._to_its_end(lambda: self._read_at_most(builder, limit))

    async def _read_at_most(self, builder: Any, limit: int) -> tuple[bytes, int | None] | None:
        chunks: list[bytes] = []
        size = 0
        method, address, parameters, headers = request_of(builder)
        prepared = self._session.build_request(method, address, params=parameters, headers=headers)
        response = await self._session.send(prepared, stream=True)
        try:
            if not response.is_success:
                await response.aread()
                raise error_of(response, writing=False)
            refuse_other_answer(response)
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > limit:
                    return None
                chunks.append(chunk)
        finally:
            await response.aclose()
        return b"".join(chunks), rows_told(response.headers)

    async def rows(self, builder: Any) -> list[dict[str, Any]]:
        """Carry a reading request out and decode the JSON array of its body."""
        return records_of(await self.respond(builder))

    async def described_tables(self, schema: str = DATA) -> dict[str, Any]:
        """A schema's tables as the server's OpenAPI document defines them; some servers give none, or an empty one.

        Raises:
            StoreError: one of its kinds.
        """
        postgrest = self._client if schema in {DATA, "public"} else self._client.schema(schema)
        with translated_transport_errors(writing=False):
            response = await self._session.get(f"{str(postgrest.base_url).rstrip('/')}/", headers=postgrest.headers)
        if not response.is_success:
            raise error_of(response, writing=False)
        try:
            document = json.loads(response.content)
        except UNDECODABLE:
            return {}
        definitions = document.get("definitions") if isinstance(document, dict) else None
        return definitions if isinstance(definitions, dict) else {}

    async def _to_its_end(self, send: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
        # Also where the caller is cancelled or out of time: httpcore's pool never gets back the place of a request that
        # is broken off while it waits for its connection (its issue 1093), and has no place left in the end. It waits
        # for its turn here instead, where it can be given up: what was not begun by then is never sent.
        try:
            async with asyncio.timeout(self._session.timeout.pool):
                await self._turns.acquire()
        except TimeoutError:
            raise UnavailableError("no free connection to Supabase in time") from None
        task = self._sending.start(send())
        task.add_done_callback(self._sent)
        return await asyncio.shield(task)

    def _sent(self, task: asyncio.Task[Any]) -> None:
        self._turns.release()
        if not task.cancelled():
            task.exception()  # looked at, since nobody may be left to do so

    async def close(self) -> None:
        """Close every connection, and give up the requests that nobody waits for any more."""
        await end_all(self._sending.end, self._session.aclose)


async def _body(content: bytes, before_sending: Callable[[], None]) -> AsyncIterator[bytes]:
    before_sending()
    yield content

"""What a request of the client's builder asks for, where the builder's own methods cannot say it.

The builder keeps its request in `request`, which postgrest-py does not document. Nothing else in this project reads or
changes it. Its methods would not do: `filter` quotes a quoted name once more and leaves `a.b` unquoted, `select` drops
blanks that follow an escaped quotation mark in a name, and none sends a body as it is or reads an answer in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from httpx import Headers, QueryParams, Response

from app.stores.supabase.grammar import quoted_name

if TYPE_CHECKING:
    from postgrest import AsyncRequestBuilder


def selected(table: AsyncRequestBuilder, select_list: str) -> Any:
    """`table.select(select_list)` as it is."""
    builder = table.select("*")
    builder.request.params = builder.request.params.set("select", select_list)
    return builder


def where(builder: Any, column: str, operator: str, operand: str) -> Any:
    """Add a filter: `column=operator.operand`, the column's name quoted where it must be."""
    builder.request.params = builder.request.params.add(quoted_name(column), f"{operator}.{operand}")
    return builder


def answered_with(builder: Any, column: str) -> Any:
    """Have a write answer with a column of the rows that it wrote."""
    builder.request.params = builder.request.params.add("select", quoted_name(column))
    return builder


def without_columns(builder: Any) -> Any:
    """An upsert whose address does not name its columns: PostgREST takes the names from the first object then."""
    builder.request.params = builder.request.params.remove("columns")
    return builder


def address_length(builder: Any) -> int:
    """Bytes of the address of a request, as a server repeats it: the path, and the query with blanks as %20."""
    query = str(builder.request.params)
    return len(str(builder.request.path)) + 1 + len(query) + 2 * query.count("+")


def request_of(builder: Any) -> tuple[str, str, QueryParams, Headers]:
    """Method, address, parameters and a copy of the headers, to be sent over the client's HTTP session.

    The builder's own headers go on taking themselves for ASCII where a schema's name is not.
    """
    request = builder.request
    return request.http_method, str(request.path), request.params, Headers(request.headers)


async def send(builder: Any, headers: Mapping[str, str] | None) -> Response:
    """Carry the request out once, as the builder would, and give its answer as it came."""
    response: Response = await builder.request.send(Headers(headers))
    return response

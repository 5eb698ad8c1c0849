"""What all responses share."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AddHeaders = Callable[[web.StreamResponse], None]
ADD_HEADERS: Final[web.AppKey[AddHeaders]] = web.AppKey("add_headers")
"""The key of the application's function that adds the common headers, also to responses to invalid HTTP."""
NOTE_INTERNAL_ERROR: Final[web.AppKey[Callable[[], None]]] = web.AppKey("note_internal_error")
"""The key of the application's function that counts a request that failed because of a bug."""
NO_STORE: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store"}


def line(status: int, text: str, **headers: str) -> web.Response:
    """A response with one line of plain text."""
    return web.Response(
        status=status,
        text=f"{text}\n",
        headers={**NO_STORE, hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", **headers},
    )

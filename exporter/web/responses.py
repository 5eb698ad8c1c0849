"""What all responses of this room have in common."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NO_STORE: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store"}


def line(status: int, text: str, **headers: str) -> web.Response:
    """One line of plain text."""
    return web.Response(
        status=status,
        text=f"{text}\n",
        headers={**NO_STORE, hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", **headers},
    )

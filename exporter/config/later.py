"""Keys that are part of the configuration but whose purpose this version does not support yet.

They are accepted with the value that means "off", so that a complete configuration loads; any other value is a
mistake. When one of them is built, give its field the real type and delete its line here.
"""

from typing import Annotated

from pydantic import BeforeValidator

from exporter.config.types import Allowed

_REASON = "this version does not support it yet"


def _null(value: object) -> None:
    if value is not None:
        raise ValueError(_REASON)


def _empty(value: object) -> tuple[()]:
    if value not in ([], ()):
        raise ValueError(_REASON)
    return ()


NullOnly = Annotated[None, BeforeValidator(_null), Allowed(f"null; {_REASON}")]
EmptyOnly = Annotated[tuple[()], BeforeValidator(_empty), Allowed(f"an empty list; {_REASON}")]

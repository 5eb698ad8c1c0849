"""The names of environment variables."""

from typing import Final

Loc = tuple[int | str, ...]
"""A key path, such as ("teams", 0, "name")."""
PREFIX: Final = "CYBERUN_EXPORTER_"
LISTS: Final = ("teams", "discover")
"""Top-level keys that are not sections: one variable holds the whole value."""


def variable(loc: Loc) -> str:
    """The environment variable that sets the key at a path, such as `CYBERUN_EXPORTER_WEB__LISTEN_ADDRESS`."""
    keys = loc[:1] if loc[0] in LISTS else loc
    return PREFIX + "__".join(map(str, keys)).upper()

"""The environment as a `Source`: a variable for every key, and a short form for a single team."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from exporter.config.mistakes import Source, key_path, nearest
from exporter.config.settings import Settings
from exporter.config.variables import LISTS, PREFIX, Loc, variable
from exporter.config.yamlfile import parse_yaml

TOKEN: Final = f"{PREFIX}TOKEN"
TOKEN_FILE: Final = f"{PREFIX}TOKEN_FILE"
SHORTHAND: Final = {
    "token_env": TOKEN,
    "token_file": TOKEN_FILE,
    "name": f"{PREFIX}TEAM_NAME",
    "team_id": f"{PREFIX}TEAM_ID",
}
"""The variables that describe a single team, by the team's key."""
REVISION: Final = f"{PREFIX}REVISION"
"""Set by the image's build; not a setting."""
_ANY_TEAM: Final = (
    f"at least one, in a file given as --config.file, or {TOKEN_FILE} or {TOKEN} in the environment;"
    " `cyberun-exporter demo` shows a simulated fleet"
)
_SERVICE = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)


def key_paths() -> list[Loc]:
    """Every key that has an environment variable, in the order of the settings."""
    paths: list[Loc] = []
    for name, field in Settings.model_fields.items():
        paths += [(name,)] if name in LISTS else [(name, key) for key in getattr(field.annotation, "model_fields", ())]
    return paths


def from_environment(environ: Mapping[str, str], mistakes: list[str]) -> Source:
    """The variables of all keys; unknown ones are added to `mistakes`, empty ones count as absent.

    Raises:
        ConfigError: a list is not YAML.
    """
    known = [variable(loc) for loc in key_paths()]
    allowed = [*known, *SHORTHAND.values(), REVISION]
    ours = {name: value for name, value in environ.items() if value and name.upper().startswith(PREFIX)}
    mistakes += [
        f"environment variable {key_path((name,))}: unknown variable; allowed: {nearest(name, allowed, PREFIX)}"
        for name in sorted(ours.keys() - set(allowed))
        if not _from_kubernetes(name.removeprefix(PREFIX), ours[name])
    ]
    return Source(_values(ours), _place)


def _values(ours: Mapping[str, str]) -> dict[str, Any]:
    """The settings in these variables, nested; a list is YAML, of which JSON is a part."""
    values: dict[str, Any] = {}
    for loc in key_paths():
        if (text := ours.get(variable(loc))) is None:
            continue
        if loc[0] in LISTS:
            values[str(loc[0])] = parse_yaml(text, _place(loc))
        else:
            values.setdefault(str(loc[0]), {})[loc[1]] = text
    return values


def _place(loc: Loc) -> str:
    inside = f": {key_path(loc)}" if loc[0] in LISTS and len(loc) > 1 else ""
    return f"environment variable {variable(loc)}{inside}"


def _from_kubernetes(name: str, value: str) -> bool:
    """Whether this is one of the variables that Kubernetes sets for a Service whose name starts like our prefix."""
    is_port = (name == "PORT" or name.endswith("_PORT")) and "://" in value
    return "__" not in name and (is_port or _SERVICE.fullmatch(name) is not None)


def from_shorthand(environ: Mapping[str, str], others: Mapping[str, Any], nowhere: str, mistakes: list[str]) -> Source:
    """The single team that the environment describes if no other source configures teams.

    Args:
        environ: the environment.
        others: the values of the other sources, not validated yet.
        nowhere: the place to name if there is no team at all.
        mistakes: receives a line for each contradiction.
    """
    present = {key: name for key, name in SHORTHAND.items() if environ.get(name)}
    teams = [each for name in LISTS for each in _items(others.get(name))]
    no_list = any(not isinstance(others.get(name, []), list) for name in LISTS)  # a mistake that is reported elsewhere
    mistakes += _contradictions(present, teams, None if no_list else nowhere)
    if teams or len(present.keys() & {"token_env", "token_file"}) != 1:
        return Source({}, _place)
    team = {key: name if key == "token_env" else environ[name] for key, name in present.items()}
    return Source({"teams": [{"name": "default", **team}]}, _shorthand_place)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _contradictions(present: Mapping[str, str], teams: list[Any], nowhere: str | None) -> Iterator[str]:
    if teams:
        # A configured team may have its credential in a variable of this name.
        used = [str(team.get("token_env")) for team in teams if isinstance(team, Mapping)]
        for name in sorted(set(present.values()).difference(used)):
            yield f"environment variable {name}: found a value although teams are configured; allowed: one of the two"
    elif "token_env" in present and "token_file" in present:
        yield f"environment variable {TOKEN}: found {TOKEN_FILE} as well; allowed: one of the two"
    elif nowhere and "token_env" not in present and "token_file" not in present:
        yield f"{nowhere}: found none; allowed: {_ANY_TEAM}"


def _shorthand_place(loc: Loc) -> str:
    return f"environment variable {SHORTHAND[str(loc[-1])]}"

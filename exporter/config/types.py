"""Named types of configuration values.

The `Allowed` of each type says what it accepts, for error messages and the reference page. Validators therefore need no
messages of their own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator

from exporter.config.address import ListenAddress, parse_addresses
from exporter.redact import is_credential


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a type accepts, as text that follows "allowed: ".

    Attributes:
        text: the text.
        secret: whether a wrong value may be a key and must not be shown.
    """

    text: str
    secret: bool = False


QUOTE_IT = "; quote it if it is meant as text"


def needs_quotes(value: object) -> bool:
    """Whether this may be text that YAML reads as another type, such as `123`, `off` or `2027-01-31`."""
    return isinstance(value, bool | int | float | date)


# Durations --------------------------------------------------------------------------------------------------------

_UNITS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))


def parse_duration(text: object) -> float:
    """Seconds in a duration as Prometheus writes it: `1h30m`, `15s`, `500ms`; units from large to small.

    Raises:
        ValueError: anything else, plain numbers and the empty text included.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not match or not match[0]:
        raise ValueError("no duration")
    return sum(float(n or 0) * unit for n, unit in zip(match.groups(), _UNITS.values(), strict=True))


def format_duration(seconds: float) -> str:
    """The shortest duration text that `parse_duration` reads as these seconds, to the millisecond."""
    rest, parts = round(seconds * 1000), []
    for name in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(_UNITS[name] * 1000))
        parts.append(f"{count}{name}" if count else "")
    return "".join(parts) or "0s"


def _duration(least: str, most: str) -> tuple[BeforeValidator, Any, Allowed]:
    bounds = Field(ge=parse_duration(least), le=parse_duration(most))
    words = f"a duration such as 30s, 2m or 1h30m, from {least} to {most}"
    return BeforeValidator(parse_duration), bounds, Allowed(words)


Interval = Annotated[float, *_duration("1s", "1d")]
Timeout = Annotated[float, *_duration("1ms", "1h")]
Age = Annotated[float, *_duration("1s", "1y")]

# Numbers ----------------------------------------------------------------------------------------------------------


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")  # noqa: TRY004  only a ValueError becomes a mistake
    return value


def _count(least: int, most: int) -> tuple[BeforeValidator, Any, Allowed]:
    words = f"a whole number from {least} to {most}"
    return BeforeValidator(_no_bool), Field(ge=least, le=most), Allowed(words)


Concurrency = Annotated[int, *_count(1, 10_000)]
Pages = Annotated[int, *_count(1, 1_000_000)]
Agents = Annotated[int, *_count(1, 1_000_000)]
Workflows = Annotated[int, *_count(0, 1000)]
ByteSize = Annotated[int, *_count(1024, 2**30)]
RequestRate = Annotated[
    float,
    BeforeValidator(_no_bool),
    Field(gt=0, le=100_000, allow_inf_nan=False),
    Allowed("a number above 0, at most 100000; fractions such as 0.5 too"),
]
Flag = Annotated[bool, Allowed("true or false")]

# Texts ------------------------------------------------------------------------------------------------------------


def _text(accepts: Callable[[str], object]) -> BeforeValidator:
    def check(value: object) -> str:
        if not isinstance(value, str) or not accepts(value):
            raise ValueError("refused")
        return value

    return BeforeValidator(check)


_NO_BREAK = str.maketrans(dict.fromkeys("\u00a0\u2007\u202f", " "))
_MAX_NAME = 100


def trimmed(text: str) -> str:
    """A name as it is shown: without surrounding blanks, and with plain spaces in place of no-break spaces."""
    return text.translate(_NO_BREAK).strip()


def _team_name(value: object) -> str:
    name = trimmed(value) if isinstance(value, str) else ""
    if not 1 <= len(name) <= _MAX_NAME or not name.isprintable() or is_credential(name):
        raise ValueError("refused")
    return name


def _is_path(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and not is_credential(text)


def _is_team_id(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text) is not None and not is_credential(text)


def _moment(value: object) -> float:
    """Unix seconds; UTC where no zone is given, and the first moment of a day without a time."""
    match datetime.fromisoformat(value) if isinstance(value, str) else value:
        case datetime() as moment:
            pass
        case date() as day:
            moment = datetime.combine(day, time())
        case _:
            raise ValueError("no date")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


TeamName = Annotated[
    str,
    BeforeValidator(_team_name),
    Allowed("text of 1 to 100 printable characters, and not a credential"),
]
TeamId = Annotated[
    str,
    _text(_is_team_id),
    Allowed("the team's id as the platform writes it: 1 to 100 letters, digits, - and _"),
]
Moment = Annotated[
    float,
    PlainValidator(_moment),
    Allowed("a date such as 2027-01-31, or a date and time such as 2027-01-31T12:00:00Z"),
]
Pattern = Annotated[str, _text(_is_pattern), Allowed("a regular expression such as render-.*")]
AgentId = Annotated[str, _text(bool), Allowed("an agent's id, as text")]
File = Annotated[Path, _text(_is_path), Allowed("the path of a file, not a credential itself")]
VariableName = Annotated[
    str,
    _text(re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch),
    Allowed("the name of an environment variable, such as RENDER_TOKEN"),
]
AgentsPath = Annotated[Literal["/agents", "/r/agents"], Allowed("/agents or /r/agents")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    # The official exporters say "warn", Python says "warning".
    BeforeValidator(lambda found: "warning" if found == "warn" else found),
    Allowed("debug, info, warn or error"),
]
LogFormat = Annotated[Literal["logfmt", "json"], Allowed("logfmt or json")]

# Addresses --------------------------------------------------------------------------------------------------------


def _base_url(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not set(value).isdisjoint(' ?#@\\"<>'):
        raise ValueError("no base URL")
    url = urlsplit(value)
    if url.scheme not in {"http", "https"} or not url.hostname or url.port == 0:
        raise ValueError("no base URL")
    return value.rstrip("/")


RESERVED_PATHS = frozenset({"/probe", "/sd", "/api/v1/status", "/-/healthy", "/-/ready", "/-/reload"})
_PATH = re.compile(r"/|(/[A-Za-z0-9._~-]+)+/?")


def _is_telemetry_path(text: str) -> bool:
    dots = {".", ".."}.intersection(text.split("/"))
    return bool(_PATH.fullmatch(text)) and not dots and text.rstrip("/") not in RESERVED_PATHS


BaseUrl = Annotated[
    str,
    PlainValidator(_base_url),
    Allowed("an http:// or https:// URL without user, query or fragment"),
]
Listen = Annotated[
    tuple[ListenAddress, ...],
    PlainValidator(parse_addresses),
    Allowed(
        "[HOST]:PORT, such as :10042, 127.0.0.1:10042 or [::1]:10042, with a port from 0 to 65535;"
        " or several, as a list or separated by commas"
    ),
]
TelemetryPath = Annotated[
    str,
    _text(_is_telemetry_path),
    Allowed("a path such as /metrics, of letters, digits and . _ ~ -, that the exporter does not use otherwise"),
]

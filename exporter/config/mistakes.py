"""Describes each mistake in one line: where it is, what was found and what is allowed. Without credentials."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from exporter.config.settings import Settings
from exporter.config.types import QUOTE_IT, Allowed, needs_quotes
from exporter.config.variables import Loc
from exporter.redact import quoted, redact

MAX_SHOWN: Final = 80
"""Maximum characters shown of a wrong value, so that the line stays readable."""


@dataclass(frozen=True, slots=True)
class Source:
    """Values from one source.

    Attributes:
        values: nested like the settings; only what this source sets.
        where: describes the place of a key path to people, without the value.
    """

    values: Mapping[str, Any]
    where: Callable[[Loc], str]


def key_path(loc: Loc) -> str:
    """`teams[0].name` for ("teams", 0, "name")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_shown_key(part)}" for part in loc).lstrip(".")


def explain(error: ValidationError, sources: Sequence[Source], model: type[BaseModel] = Settings) -> list[str]:
    """One line per mistake.

    Args:
        error: raised by the validation of the model.
        sources: of the values, highest precedence first.
        model: the validated model.
    """
    details = error.errors(include_url=False)
    misspelt = {item["loc"][:-1] for item in details if item["type"] == "extra_forbidden"}
    return [
        f"{place(loc, sources)}: {text}"
        for item in details
        # A misspelt key is most likely the missing credential: report one mistake, not two.
        if item["type"] != "clash" or item["loc"][-1] != "token_env" or item["loc"][:-1] not in misspelt
        for loc, text in _texts(item, model)
    ]


def _texts(item: ErrorDetails, model: type[BaseModel]) -> Iterator[tuple[Loc, str]]:
    loc = item["loc"]
    match item["type"]:
        case "clash":
            for below, found, allowed in item["ctx"]["clashes"]:
                yield (*loc[:-1], *below), f"found {found}; allowed: {allowed}"
        case "extra_forbidden" | "invalid_key":
            yield loc, f"unknown key; allowed: {nearest(str(loc[-1]), _keys(type_at(loc[:-1], model)))}"
        case "missing":
            yield loc, f"found nothing; allowed: {words(type_at(loc, model))}"
        case _:
            kind = type_at(loc, model)
            yield (
                loc,
                f"found {_found(loc, item['input'], kind)}; allowed: {words(kind)}{_quoting(item['input'], kind)}",
            )


def _quoting(value: object, kind: Any) -> str:
    """Advice if quotes around the value would make it valid."""
    return QUOTE_IT if needs_quotes(value) and _accepts(kind, shown(value)) else ""


def _accepts(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def nearest(key: str, known: Sequence[str], prefix: str = "") -> str:
    """The known keys that resemble an unknown one, all of them if none does: `token_file or token_env`.

    Args:
        key: the unknown key.
        known: those that exist, in the order to print them.
        prefix: what all of them start with; ignored when comparing.
    """
    from difflib import get_close_matches  # noqa: PLC0415  few processes ever see a mistake

    rest = {option.removeprefix(prefix): option for option in known}
    near = get_close_matches(key.removeprefix(prefix), rest)
    options = [option for short, option in rest.items() if short in near] or known
    return " or ".join(filter(None, [", ".join(options[:-1]), *options[-1:]]))


def place(loc: Loc, sources: Sequence[Source]) -> str:
    """Where a key is set, for people: in the source that sets it, or otherwise the longest part of its path.

    Args:
        loc: the key path.
        sources: highest precedence first.
    """
    return max(sources, key=lambda source: _held(loc, source.values)).where(loc)


def _held(loc: Loc, values: Any) -> int:
    for depth, part in enumerate(loc):
        try:
            values = values[part]
        except (LookupError, TypeError):
            return depth
    return len(loc)


# Values -----------------------------------------------------------------------------------------------------------


def _found(loc: Loc, value: object, kind: Any) -> str:
    if value is not None and any(allowed.secret for allowed in _allowed(kind)):
        return "a value"
    # A text in place of a variable's name may be a pasted secret of any form.
    return "something that is not a name" if loc[-1] == "token_env" and isinstance(value, str) else shown(value)


def shown(value: object) -> str:
    """A configuration value, fit to print: redacted, on one line, and cut; never the content of a collection."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping"
        case list() | tuple() | set():
            return "a list"
        case str():
            return quoted(_cut(redact(value)))
        case _:
            return _cut(redact(str(value)))


def _shown_key(key: str) -> str:
    return quoted(_cut(redact(key)))[1:-1]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


# What is allowed --------------------------------------------------------------------------------------------------


def type_at(loc: Loc, model: type[BaseModel] = Settings) -> Any:
    """The annotated type of the value at a key path of the model."""
    found: Any = model
    for part in loc:
        found = get_args(found)[0] if isinstance(part, int) else annotated(_section(found).model_fields[part])
    return found


def _section(kind: Any) -> Any:
    """The model, also if it is optional."""
    return next((option for option in get_args(kind) if isinstance(option, type) and option is not NoneType), kind)


def annotated(field: FieldInfo) -> Any:
    """The type of a field as written, with its metadata."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def words(kind: Any) -> str:
    """What a type accepts, in words."""
    if get_origin(kind) is Annotated:
        base, *metadata = get_args(kind)
        return next((m.text for m in metadata if isinstance(m, Allowed)), "") or words(base)
    if kind is NoneType:
        return "null"
    if get_origin(kind) is tuple:
        return f"a list; each item: {words(get_args(kind)[0])}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"a mapping with the keys {', '.join(_keys(kind))}"
    return ", or ".join(words(option) for option in get_args(kind))


def _allowed(kind: Any) -> Iterator[Allowed]:
    """The `Allowed` of a type and of its options."""
    for part in get_args(kind):
        if isinstance(part, Allowed):
            yield part
        yield from _allowed(part)


def _keys(kind: Any) -> list[str]:
    return list(_section(kind).model_fields)

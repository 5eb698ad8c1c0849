"""Renders the configuration reference as markdown from the settings themselves."""

from collections.abc import Iterable, Iterator

from pydantic.fields import FieldInfo

from exporter.cli.arguments import COMMANDS, parser_of
from exporter.config.environment import SHORTHAND, key_paths
from exporter.config.mistakes import annotated, key_path, words
from exporter.config.settings import Discover, Section, Settings, TeamSettings
from exporter.config.types import format_duration, parse_duration
from exporter.config.variables import Loc, variable


def reference() -> str:
    """Every key with its variable, what it allows, its default and its meaning; every command and flag: in tables."""
    keys = ((loc, _field(loc)) for loc in key_paths())
    return "\n".join(
        (
            "## Keys",
            "",
            *_table("Key", "Environment variable", "Allowed", "Default", "Meaning"),
            *(_row(f"`{key_path(loc)}`", f"`{variable(loc)}`", *_facts(field)) for loc, field in keys),
            "",
            *_list("## Keys of a team", "teams", TeamSettings),
            *_list("## Keys of a discovery credential", "discover", Discover),
            "## One team from the environment",
            "",
            "Where no teams are configured, these variables describe a single one.",
            "",
            *_table("Environment variable", "Meaning"),
            *_shorthand(),
            "",
            "## Commands",
            "",
            *_table("Command", "Does"),
            *(_row(f"`cyberun-exporter {command}`", does) for command, does in COMMANDS.items()),
            "",
            "## Flags",
            "",
            "They follow the command. `serve` may be left out.",
            "",
            *_table("Flag", "Commands", "Meaning"),
            *_flags(),
            "",
        )
    )


def _list(title: str, key: str, item: type[Section]) -> Iterator[str]:
    yield from (title, "", f"`{variable((key,))}` holds the whole list, as YAML or JSON.", "")
    yield from _table("Key", "Allowed", "Default", "Meaning")
    yield from (_row(f"`{name}`", *_facts(field)) for name, field in item.model_fields.items())
    yield ""


def _field(loc: Loc) -> FieldInfo:
    section = Settings.model_fields[str(loc[0])]
    fields: dict[str, FieldInfo] = getattr(section.annotation, "model_fields", {})
    return fields[str(loc[1])] if len(loc) > 1 else section


def _facts(field: FieldInfo) -> Iterator[str]:
    yield words(annotated(field))
    yield _default(field)
    yield field.description or ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if any(getattr(item, "func", None) is parse_duration for item in field.metadata):
        return f"`{format_duration(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and value:
        return ", ".join(f"`{each}`" for each in value)
    return "none" if value is None or value == () else f"`{value}`"


def _shorthand() -> Iterator[str]:
    meanings = {
        "token_env": "The credential itself.",
        "token_file": "File that holds the credential, instead.",
        "name": "Value of the `team_name` label; `default` when not set.",
        "team_id": "The team's id; needed with a JWT.",
    }
    return (_row(f"`{name}`", meanings[key]) for key, name in SHORTHAND.items())


def _flags() -> Iterator[str]:
    users: dict[tuple[str, str], list[str]] = {}
    for command in COMMANDS:
        for action in parser_of(command)._actions:  # noqa: SLF001  argparse has no other way to list them
            value = f"={action.metavar}" if action.metavar else ""
            flag = ", ".join(f"`{name}{value}`" for name in action.option_strings)
            users.setdefault((flag, action.help or ""), []).append(f"`{command}`")
    for (flag, meaning), commands in users.items():
        yield _row(flag, "all" if len(commands) == len(COMMANDS) else ", ".join(commands), meaning)


def _table(*head: str) -> Iterable[str]:
    return _row(*head), "|" + " --- |" * len(head)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

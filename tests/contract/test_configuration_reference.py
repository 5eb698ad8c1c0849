import re
from pathlib import Path

from exporter.cli.arguments import COMMANDS, parser_of
from exporter.config.environment import SHORTHAND, key_paths
from exporter.config.mistakes import key_path
from exporter.config.settings import Discover, TeamSettings
from exporter.config.variables import variable

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
KEYS, _, COMMAND_LINE = PAGE.partition("## Commands\n")


def test_every_key_is_described_once() -> None:
    """The reference has a row for each key and variable, with a meaning and what is allowed."""
    rows = [line.strip("| ").split(" | ") for line in KEYS.splitlines() if line.startswith("| `")]
    keys = [(f"`{key_path(loc)}`", f"`{variable(loc)}`") for loc in key_paths()]
    assert [tuple(row[:2]) for row in rows[: len(keys)]] == keys
    names = (*TeamSettings.model_fields, *Discover.model_fields, *SHORTHAND.values())
    assert [row[0] for row in rows[len(keys) :]] == [f"`{name}`" for name in names]
    assert all(cell.strip() for row in rows for cell in row)


def test_every_flag_is_described() -> None:
    """The reference has a row for each command, and for each flag the commands whose --help lists it."""
    rows = [line.strip("| ").split(" | ") for line in COMMAND_LINE.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows[: len(COMMANDS)]] == [f"`cyberun-exporter {command}`" for command in COMMANDS]
    for command in COMMANDS:
        listed = set(re.findall(r"(?<![\w-])--[a-z][a-z.-]+", parser_of(command).format_help().partition("\n\n")[0]))
        described = {
            flag
            for names, commands, _ in rows[len(COMMANDS) :]
            for flag in re.findall(r"--[a-z.-]+", names)
            if commands == "all" or f"`{command}`" in commands
        }
        assert described - {"--help"} == listed, command


def test_defaults_are_shown_as_they_are_written() -> None:
    """A default could be copied into a configuration file."""
    for row in (
        (
            "| `collect.stale_after` | `CYBERUN_EXPORTER_COLLECT__STALE_AFTER` | a duration such as 30s, 2m or 1h30m, "
            "from 1s to 1y | `2m` | "
        ),
        (
            "| `api.max_requests_per_second` | `CYBERUN_EXPORTER_API__MAX_REQUESTS_PER_SECOND` | a number above 0, "
            "at most 100000; fractions such as 0.5 too | `10` | "
        ),
        "with a port from 0 to 65535; or several, as a list or separated by commas | `:10042` | ",
        "| true or false | `false` | ",
        "| `name` | text of 1 to 100 printable characters, and not a credential | required | ",
    ):
        assert row in PAGE

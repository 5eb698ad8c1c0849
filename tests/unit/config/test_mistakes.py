from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.environment import key_paths
from exporter.config.load import load
from exporter.config.settings import TeamSettings
from exporter.errors import ConfigError

ONE_CREDENTIAL = "allowed: exactly one of token_file, token_env and refresh_token_file"
TEAM = "teams: [{name: a, token_env: A}]\n"
DURATION = "a duration such as 30s, 2m or 1h30m"


def mistakes(folder: Path, text: str, overrides: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with a file, without the file's name."""
    file = folder / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, overrides)
    return [line.removeprefix(f"{file}: ") for line in caught.value.mistakes]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("api: {timeout: 10}", f"api.timeout: found 10; allowed: {DURATION}, from 1ms to 1h"),
        ("collect: {interval: 0s}", f'collect.interval: found "0s"; allowed: {DURATION}, from 1s to 1d'),
        ("api: {max_pages: true}", "api.max_pages: found true; allowed: a whole number from 1 to 1000000"),
        ("api: {max_concurrency: }", "api.max_concurrency: found null; allowed: a whole number from 1 to 10000"),
        (
            "api: {max_requests_per_second: 0}",
            (
                "api.max_requests_per_second: found 0; "
                "allowed: a number above 0, at most 100000; fractions such as 0.5 too"
            ),
        ),
        (
            "api: {base_url: 'https://user:secret@host'}",
            (
                'api.base_url: found "https://***@host"; '
                "allowed: an http:// or https:// URL without user, query or fragment"
            ),
        ),
        (
            "web: {listen_address: 10042}",
            (
                "web.listen_address: found 10042; "
                "allowed: [HOST]:PORT, such as :10042, 127.0.0.1:10042 or [::1]:10042, "
                "with a port from 0 to 65535; or several, as a list or separated by commas"
            ),
        ),
        (
            "web: {telemetry_path: /probe}",
            (
                'web.telemetry_path: found "/probe"; allowed: a path such as /metrics, of letters, digits and . _ ~ -, '
                "that the exporter does not use otherwise"
            ),
        ),
        ("log: {level: off}", "log.level: found false; allowed: debug, info, warn or error"),
        ("log: {format: text}", 'log.format: found "text"; allowed: logfmt or json'),
        ("log: 3", "log: found 3; allowed: a mapping with the keys level, format"),
        ("log: [a]", "log: found a list; allowed: a mapping with the keys level, format"),
        ("api: {ca_file: ''}", 'api.ca_file: found ""; allowed: the path of a file, not a credential itself, or null'),
        ("api: {time_out: 1s}", "api.time_out: unknown key; allowed: timeout"),
        ("log: {zzz: 1}", "log.zzz: unknown key; allowed: level or format"),
        ("log: {1: 1}", "log[1]: unknown key; allowed: level or format"),
        ("colect: {}", "colect: unknown key; allowed: collect"),
        ("_env_file: x", "_env_file: unknown key; allowed: api, collect, teams, discover, web or log"),
        (
            "web: {config_file: [w]}",
            "web.config_file: found a list; allowed: the path of a file, not a credential itself, or null",
        ),
        (
            "discover: [x]",
            (
                'discover[0]: found "x"; allowed: a mapping with the keys token_file, refresh_token_file, token_env, '
                "token_expires, name, include, exclude, interval"
            ),
        ),
        (
            "discover: [{token_env: A, include: ['(']}]",
            'discover[0].include[0]: found "("; allowed: a regular expression such as render-.*',
        ),
    ],
)
def test_a_mistake_says_where_what_and_what_is_allowed(tmp_path: Path, text: str, mistake: str) -> None:
    """One line: key path, found value, allowed values."""
    assert mistakes(tmp_path, TEAM + text) == [mistake]


@pytest.mark.parametrize(
    ("team", "mistake"),
    [
        (
            "{name: a}",
            f"teams[0]: found no credential; {ONE_CREDENTIAL}",
        ),
        (
            "{name: a, token_env: A, token_file: f}",
            f"teams[0]: found both token_file and token_env; {ONE_CREDENTIAL}",
        ),
        ("{name: a, token: sk-marker-0123456789}", "teams[0].token: unknown key; allowed: token_file or token_env"),
        (
            "{name: a, token_env: hunter2-marker}",
            (
                "teams[0].token_env: found something that is not a name; "
                "allowed: the name of an environment variable, such as RENDER_TOKEN, or null"
            ),
        ),
        (
            "{name: a, token_file: sk-marker-0123456789}",
            'teams[0].token_file: found "sk-***"; allowed: the path of a file, not a credential itself, or null',
        ),
        (
            "{token_env: A}",
            ("teams[0].name: found nothing; allowed: text of 1 to 100 printable characters, and not a credential"),
        ),
        (
            "{name: a, token_env: A, refresh_token_file: f}",
            f"teams[0]: found both refresh_token_file and token_env; {ONE_CREDENTIAL}",
        ),
        (
            "{name: a, token_env: A, expected_agents: gpu}",
            'teams[0].expected_agents: found "gpu"; allowed: a list; each item: an agent\'s id, as text',
        ),
        (
            "{name: a, token_env: A, agents_path: /x}",
            'teams[0].agents_path: found "/x"; allowed: /agents or /r/agents, or null',
        ),
        (
            "render",
            (
                'teams[0]: found "render"; allowed: a mapping with the keys token_file, '
                "refresh_token_file, token_env, token_expires, name, team_id, interval, agents_path, expected_agents"
            ),
        ),
    ],
)
def test_a_mistake_in_a_team_says_which(tmp_path: Path, team: str, mistake: str) -> None:
    """Teams are named by their position in the list; credentials are not repeated."""
    assert mistakes(tmp_path, f"teams: [{team}]") == [mistake]


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    """Sections, teams, flags and contradictions are reported together."""
    text = "foo: 1\napi: {timeout: x}\nteams: [{name: a, token_env: A}, {name: a, token_env: B}]"
    found = mistakes(tmp_path, text, {"log": {"level": "loud"}, "web": {"listen_address": "x"}})
    assert [line.split(": found")[0].split(": unknown")[0] for line in found] == [
        "foo",
        "api.timeout",
        "teams[1].name",
        "flag --web.listen-address",
        "flag --log.level",
    ]


def test_data_that_goes_stale_between_polls_is_doubted_but_allowed(tmp_path: Path) -> None:
    """An interval longer than stale_after causes a warning; only effective intervals count."""
    file = tmp_path / "c.yaml"
    file.write_text("collect: {stale_after: 10s}\nteams: [{name: a, token_env: A, interval: 10s}]")
    assert load(file, {}).warnings() == []
    file.write_text("collect: {interval: 5m}\nteams: [{name: a, token_env: A}]")
    assert load(file, {}).warnings() == [
        "team a: polled every 5m, so its data is withheld between polls: collect.stale_after is 2m"
    ]


def test_long_values_are_cut_and_control_characters_shown(tmp_path: Path) -> None:
    """A message stays one line of readable length."""
    (line,) = mistakes(tmp_path, TEAM + 'log: {level: "a\\nb\\e\\u202e' + "x" * 200 + '"}')
    assert line.startswith('log.level: found "a\\nb\\u001b\\u202exxx')
    assert "…" in line
    assert len(line) < 200
    assert line.isprintable()


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b"a: [", "line 1, column 5: found malformed YAML ("),
        (b"api:\n  x: 1\n y: 2", "line 3, column 2: found malformed YAML ("),
        (
            b"api: {timeout: 1s, timeout: 2s}",
            "line 1, column 20: found malformed YAML (key timeout appears twice); allow",
        ),
        (b"api: {}\nlog: {}\napi: {}", "line 3, column 1: found malformed YAML (key api appears twice); allowed: "),
        (b"a: 1\n---\nb: 1", "line 2, column 1: found malformed YAML ("),
        (b"a: !!python/object:os.system x", "line 1, column 4: found malformed YAML ("),
        (b"a: 2024-99-99", "found malformed YAML (month must be in 1..12"),
        (b"a: !!timestamp x", "found malformed YAML ("),
        (b"a: \x07", "found malformed YAML ("),
        (
            b"a: &x sk-marker-0123456789\nb: *sk-marker-0123456789",
            "line 2, column 4: found malformed YAML (found undefined alias 'sk-***')",
        ),
        (b"[" * 5000, "found malformed YAML (maximum recursion depth exceeded"),
        (b"- a", "found a list; allowed: a mapping of sections"),
        (b"sk-marker-0123456789", 'found "sk-***"; allowed: a mapping of sections'),
        (b"a: \xff", "found invalid UTF-8 at byte 3; allowed: a readable YAML file"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_one_mistake(tmp_path: Path, content: bytes, mistake: str) -> None:
    """Bad syntax is located by line and column."""
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    (line,) = caught.value.mistakes
    assert line.startswith(f"{file}: {mistake}")
    assert "marker" not in line


def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path) -> None:
    """Missing files and folders are said to be so."""
    for path, found in ((tmp_path / "none", "no such file or directory"), (tmp_path, "a directory")):
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert caught.value.mistakes == (f"{path}: found {found}; allowed: a readable YAML file",)


def test_a_structure_that_contains_itself_is_a_mistake(tmp_path: Path) -> None:
    """An alias inside its own anchor neither loops nor raises anything else."""
    assert mistakes(tmp_path, "teams: &a [*a]")


KEYS = (
    [str(part) for loc in key_paths() for part in loc]
    + list(TeamSettings.model_fields)
    + ["sk-marker-0123456789", "token"]
)
SCALARS = st.sampled_from(
    ["sk-marker-0123456789", "https://u:marker@h", "5s", "a", 1, 1.5, True, None, "eyJmarker0123456789.a.b", 10**30]
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), DOCUMENTS, max_size=5))
def test_whatever_the_file_holds_the_outcome_is_settings_or_clean_mistakes(document: dict[str, Any]) -> None:
    """Any YAML is either valid or a ConfigError, and no credential is printed."""
    lines: tuple[str, ...] = ()
    try:
        load(None, {"CYBERUN_EXPORTER_TEAMS": yaml.safe_dump(document)}, document)
    except ConfigError as error:
        lines = error.mistakes
    assert [line for line in lines if "marker" in line or not line.isprintable()] == []


TEXTS = {
    "teams: [{name: VALUE, token_env: A}]": "teams[0].name",
    "teams: [{name: a, token_env: A, team_id: VALUE}]": "teams[0].team_id",
    "teams: [{name: a, token_env: A, expected_agents: [gpu, VALUE]}]": "teams[0].expected_agents[1]",
    "teams: [{name: a, token_file: VALUE}]": "teams[0].token_file",
    "teams: [{name: a, refresh_token_file: VALUE}]": "teams[0].refresh_token_file",
    "discover: [{name: VALUE, token_env: A}]": "discover[0].name",
    "discover: [{token_env: A, include: [VALUE]}]": "discover[0].include[0]",
    "discover: [{token_env: A, exclude: [VALUE]}]": "discover[0].exclude[0]",
    "api: {ca_file: VALUE}": "api.ca_file",
    "web: {config_file: VALUE}": "web.config_file",
}
"""Every key that takes any text, or nearly any."""


@pytest.mark.parametrize("value", ["123", "true", "2027-01-31"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_that_yaml_reads_as_another_type(tmp_path: Path, text: str, value: str) -> None:
    """The message advises quotes wherever they would make the value valid."""
    teams = "" if text.startswith(("teams", "discover")) else "\nteams: [{name: a, token_env: A}]"
    [mistake] = mistakes(tmp_path, text.replace("VALUE", value) + teams)
    assert mistake.startswith(f"{TEXTS[text]}: found {value}; allowed: ")
    assert mistake.endswith("; quote it if it is meant as text")
    (tmp_path / "c.yaml").write_text(text.replace("VALUE", f'"{value}"') + teams)
    load(tmp_path / "c.yaml", {})


@pytest.mark.parametrize(
    "section",
    [
        "api: {base_url: 12}",
        "api: {timeout: 3}",
        "web: {telemetry_path: 12}",
        "web: {listen_address: 10042}",
        "log: {level: off}",
        "collect: {max_agents: 1.5}",
    ],
)
def test_quotes_that_would_not_help_are_not_advised(tmp_path: Path, section: str) -> None:
    """There is no advice where a text would be wrong as well."""
    [mistake] = mistakes(tmp_path, f"{section}\nteams: [{{name: a, token_env: A}}]")
    assert "quote" not in mistake

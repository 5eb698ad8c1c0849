import re

import pytest

from exporter.cli.check import check
from exporter.config.load import load
from exporter.config.settings import Settings
from exporter.errors import ConfigError
from exporter.service.budget import series_per_agent, series_per_team
from exporter.service.shard import Shard
from fixtures import TEAM_ID

ENVIRON = {"RENDER": "sk-MARKER-1", "FILM": "dk-MARKER-2", "AUDIO": "eyJMARKER.x.y"}


def settings(**sections: object) -> Settings:
    teams = [
        {"name": "render", "token_env": "RENDER", "expected_agents": ["a", "b"], "interval": "15s"},
        {"name": "film-and-more", "token_env": "FILM"},
        {"name": "audio", "token_env": "AUDIO", "team_id": TEAM_ID},
    ]
    return load(None, {}, {"teams": teams, **sections})


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """There is a row for each team, and the budget as text; no credential anywhere."""
    check(settings(), ENVIRON, Shard())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "platform   https://core.cyberun.cloud/api/v1"
    assert [re.split(r"  +", line) for line in lines[1:5]] == [
        ["TEAM", "CREDENTIAL", "TEAM ID", "INTERVAL", "EXPECTED AGENTS"],
        ["render", "integration", "-", "15s", "2"],
        ["film-and-more", "device", "-", "30s", "0"],
        ["audio", "jwt", TEAM_ID, "30s", "0"],
    ]
    starts = [[match.start() for match in re.finditer(r"(?<=  )\S", line)] for line in lines[1:5]]
    assert starts[0] == starts[1] == starts[2] == starts[3]
    assert lines[5] == ""
    assert lines[6] == (
        "requests   64 to 112 a minute, with up to 100 agents a team; 600 allowed by api.max_requests_per_second"
    )
    assert lines[7] == (
        f"series     {series_per_team() * 3} for the teams themselves, and {series_per_agent(1)} for each agent"
        f" with one GPU, {series_per_agent(2) - series_per_agent(1)} for each further GPU"
    )
    assert len(lines) == 8
    assert "MARKER" not in "".join(lines)


@pytest.mark.parametrize(
    ("sections", "requests", "series"),
    [
        (
            {"teams": []},
            "16 to 56 a minute for each discovered team, with",
            "{one} for each discovered team itself, and",
        ),
        (
            {},
            "64 to 112 a minute and 16 to 56 a minute for each discovered team, with",
            "{three} for the teams themselves, {one} for each discovered team itself, and",
        ),
    ],
    ids=["all teams are discovered", "some are"],
)
def test_what_depends_on_a_discovery(
    capsys: pytest.CaptureFixture[str], sections: dict[str, object], requests: str, series: str
) -> None:
    """The cost of discovered teams is stated for one team, over all intervals: their number is not known."""
    discover = [{"token_env": "FILM", "interval": "15s"}, {"token_env": "AUDIO"}]
    check(settings(discover=discover, **sections), ENVIRON, Shard())
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"requests   {requests} up to 100 agents a team; 600 allowed") for line in lines)
    expected = series.format(one=series_per_team(), three=3 * series_per_team())
    assert any(line.startswith(f"series     {expected} {series_per_agent(1)} for each agent") for line in lines)


def test_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """Valid but probably unintended settings cause warnings."""
    check(settings(api={"max_requests_per_second": 0.1}), ENVIRON, Shard())
    [warning] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning    at least 64 requests a minute are needed")


def test_a_credential_that_ends_soon(capsys: pytest.CaptureFixture[str]) -> None:
    """A key that will be refused, or is already, causes a warning with the team's name."""
    teams = [{"name": "render", "token_env": "RENDER", "token_expires": "2020-01-31"}]
    check(load(None, {}, {"teams": teams}), ENVIRON, Shard())
    assert "warning    team render: the key has expired, as token_expires says\n" in capsys.readouterr().out


def test_proxy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy in use is shown with the variable that sets it, without its password."""
    monkeypatch.setenv("https_proxy", "http://me:hunter2@proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    check(settings(), ENVIRON, Shard())
    assert "proxy      http://***@proxy.example:3128 (https_proxy)\n" in capsys.readouterr().out


def test_shard(capsys: pytest.CaptureFixture[str]) -> None:
    """A shard's table shows only its own teams; all shards together show all teams."""
    shown = []
    for number in range(2):
        check(settings(), ENVIRON, Shard(number, 2))
        lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
        assert lines[1] == f"shard      {number} of 2, counted from 0: only its own teams"
        shown += [line.split()[0] for line in lines[3:]]
    assert sorted(shown) == ["audio", "film-and-more", "render"]


def test_every_credential_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """All mistakes are reported at once, each with its team and without the credential, and nothing else is printed."""
    with pytest.raises(ConfigError) as caught:
        check(settings(), {"RENDER": "ak-MARKER-1", "FILM": "MARKER-2"}, Shard())
    assert len(caught.value.mistakes) == 3
    for mistake, words in zip(caught.value.mistakes, ("agent key", "no known kind", "not set"), strict=True):
        assert words in mistake
        assert "MARKER" not in mistake
    assert capsys.readouterr().out == ""

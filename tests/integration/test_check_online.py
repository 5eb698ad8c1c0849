import re
from pathlib import Path

import pytest

from exporter.demo import SimulatedPlatform
from support import CommandFactory, Completed, ExporterFactory, RunningExporter, free_port
from support.sessions import SignedIn, secrets

pytestmark = pytest.mark.both_ways

API = {"max_requests_per_second": 1000, "timeout": "5s"}


def rows(done: Completed) -> dict[tuple[str, str], tuple[str, str]]:
    """By team and path: ok or FAILED, and the message."""
    found = re.findall(r"^(\S+) +(/\S+) +(ok|warning|FAILED) +(.*)$", done.stdout, re.MULTILINE)
    return {(name, path): (state, words) for name, path, state, words in found}


@pytest.mark.assumes("filtered_total", "provisioning_filter", "unique_agent_ids", "users_me")
async def test_every_endpoint_has_a_line(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """Each team and endpoint has a line: what the credential may do, what was found, what it costs; exit code 0."""
    for name, kind in (("render", "integration"), ("film", "device"), ("audio", "jwt")):
        team = platform.add_team(name, kind=kind)
        team.add_agents(3)
        team.add_tasks(5, status="waiting")
    teams = [
        {"name": "render", "team_id": platform.teams["film"].team_id},
        {"name": "film"},
        {"name": "audio", "team_id": platform.teams["audio"].team_id},
    ]
    done = await run_command("check", {"api": API, "teams": teams}, arguments=["--online"])
    assert done.code == 0, done.stdout + done.stderr
    found = rows(done)
    assert list(found) == [
        ("render", "/r/tasks"),
        ("render", "/r/agents"),
        ("film", "/r/tasks"),
        ("film", "/agents"),
        ("film", "/users/me"),
        ("audio", "/r/tasks"),
        ("audio", "/agents"),
        ("audio", "/users/me"),
    ]
    assert {state for state, _ in found.values()} == {"ok"}
    words = {key: text for key, (_, text) in found.items()}
    assert words["render", "/r/tasks"].startswith("integration key, for /r/ paths, of one team; team_id ")
    assert "is not checked, because the key determines its team; 5 tasks; 8 requests in " in words["render", "/r/tasks"]
    assert re.fullmatch(
        r"device key, for all paths, of one team; 3 agents; 1 request in [0-9.]+ s, every 30s",
        words["film", "/agents"],
    )
    assert re.search(
        rf"^user JWT, for all paths; team {platform.teams['audio'].team_id}; expires in (1h|59m\w*); ",
        words["audio", "/r/tasks"],
    )
    assert "\ntls        none: credentials are sent unencrypted\n" in done.stdout
    assert re.search(r"^clock      the platform's is [0-9.]+ s (ahead of|behind) ours$", done.stdout, re.MULTILINE)
    assert re.search(r"^29 requests for one poll of 3 teams; [0-9]+ series$", done.stdout, re.MULTILINE)
    assert not any(secret in done.stdout + done.stderr for secret in secrets(platform))


FAULTS: dict[str, tuple[str, str]] = {
    "status=401": ("401: simulated fault", "create a new one and replace this one"),
    "status=403": ("403: simulated fault", "sk- keys are accepted only on /r/ paths"),
    "status=404": ("404: simulated fault", "it usually ends in /api/v1"),
    "status=429": ("429: simulated fault", "lower api.max_requests_per_second"),
    "status=418": ("418: simulated fault", "check team_id and agents_path"),
    "status=502": ("502: simulated fault", "contact its operator"),
    "redirect=https://sso.test/": ("302", "set api.base_url to the redirect's target"),
    "hang": ("no complete answer within 5 s", "raise api.timeout"),
    "reset": ("the connection broke", "check the host and port of api.base_url"),
    "html": ("the body is not JSON", "look for a login page"),
    "gzip_bomb": ("is larger than", "raise api.max_response_bytes"),
    "total=string": ("page_meta", "report this line"),
}


async def test_every_failure_says_what_to_do(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """A failure is shown with the platform's message and with advice, while a healthy team is ok. Exit code 1."""
    platform.add_team("healthy")
    for number, fault in enumerate(FAULTS):
        platform.add_team(f"team-{number}")
        platform.faults.parse(f"team-{number}:/r/tasks:{fault}")
    done = await run_command("check", {"api": {**API, "max_concurrency": 64}}, arguments=["--online"])
    assert done.code == 1
    found = rows(done)
    assert found["healthy", "/r/tasks"][0] == "ok"
    for number, (error, advice) in enumerate(FAULTS.values()):
        state, words = found[f"team-{number}", "/r/tasks"]
        assert (state, error in words, advice in words) == ("FAILED", True, True), words
        assert found[f"team-{number}", "/r/agents"][0] == "ok"
    assert not any(secret in done.stdout + done.stderr for secret in secrets(platform))


async def test_nobody_there(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """If the platform cannot be reached, or not by TLS, each endpoint fails with an explanation."""
    platform.add_team("render")
    nobody = f"http://127.0.0.1:{free_port()}/api/v1"
    done = await run_command("check", {"api": {**API, "base_url": nobody}}, arguments=["--online"])
    assert done.code == 1
    assert {state for state, _ in rows(done).values()} == {"FAILED"}
    assert "no connection: Connection refused; check the host and port" in done.stdout
    assert "clock " not in done.stdout


async def test_no_tls_there(platform: SimulatedPlatform, base_url: str, run_command: CommandFactory) -> None:
    """A failed handshake is distinguished from a failed connection."""
    platform.add_team("render")
    api = {**API, "base_url": base_url.replace("http:", "https:")}
    done = await run_command("check", {"api": api}, arguments=["--online"])
    assert done.code == 1
    assert "TLS failed: " in done.stdout
    assert "set api.ca_file" in done.stdout
    assert "verified against the system's authorities" in done.stdout


async def test_clocks_that_differ(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """A clock difference that affects ages is mentioned."""
    platform.add_team("render")
    platform.faults.parse("*:*:date=-90s")
    done = await run_command("check", {"api": API}, arguments=["--online"])
    assert done.code == 0
    assert re.search(
        r"^clock      the platform's is (89|9[01])\.\d s behind ours; correct one of them$", done.stdout, re.MULTILINE
    )


@pytest.fixture
def operator(platform: SimulatedPlatform, tmp_path: Path) -> SignedIn:
    """A user in two teams."""
    for name in ("render", "film"):
        platform.add_team(name)
    return SignedIn(platform, tmp_path / "operator", "render", "film")


@pytest.mark.assumes("users_me")
async def test_a_session_is_rotated_properly(
    platform: SimulatedPlatform, run_command: CommandFactory, operator: SignedIn
) -> None:
    """An exchange changes the file, so the next command or the exporter continues from there; teams are listed."""
    config = {
        "api": API,
        "teams": [],
        "discover": [{"refresh_token_file": str(operator.path), "include": ["F.*|Render"], "exclude": ["Render"]}],
    }
    before = operator.saved
    for _ in range(2):
        done = await run_command("check", config, arguments=["--online"])
        assert done.code == 0, done.stdout + done.stderr
        found = rows(done)
        assert found["discover[0]", "/auth/refresh"] == ("ok", "session renewed, the new refresh token is in its file")
        assert found["discover[0]", "/users/me"] == ("ok", "2 teams; polled: Film; not wanted: Render")
        assert found["Film", "/agents"][0] == "ok"
        assert before != operator.saved
        assert operator.alive
        assert not any(secret in done.stdout + done.stderr for secret in secrets(platform))
    assert operator.renewals == 2


@pytest.mark.assumes("users_me")
async def test_patterns_that_want_nobody(
    platform: SimulatedPlatform, run_command: CommandFactory, operator: SignedIn
) -> None:
    """A discovery none of whose teams is wanted fails, and lists the names to match with patterns, on one line."""
    platform.teams["film"].display_name = "\u00a0Film\x1b[2J\n"
    discover = [{"refresh_token_file": str(operator.path), "include": ["Nobody"]}]
    done = await run_command("check", {"api": API, "teams": [], "discover": discover}, arguments=["--online"])
    assert done.code == 1
    state, told = rows(done)["discover[0]", "/users/me"]
    assert state == "FAILED"
    assert re.fullmatch("2 teams; not wanted: (Film \\[2J, Render|Render, Film \\[2J); no team is polled", told), told


async def test_a_session_in_use_is_left_alone(
    platform: SimulatedPlatform, run_command: CommandFactory, exporter_factory: ExporterFactory, operator: SignedIn
) -> None:
    """A session that a running exporter uses is skipped, with a message; the others are tried."""
    discover = [{"refresh_token_file": str(operator.path)}]
    exporter: RunningExporter = await exporter_factory(
        {"api": API, "collect": {"interval": "1s"}, "teams": [], "discover": discover}
    )
    await exporter.wait_ready()
    platform.add_team("other")
    renewals, saved = operator.renewals, operator.saved
    config = {"api": API, "teams": [{"name": "other"}], "discover": discover}
    done = await run_command("check", config, arguments=["--online"])
    assert done.code == 0, done.stdout + done.stderr
    assert f"discover[0]  skipped: {operator.path} is in use by a running exporter" in done.stdout
    assert rows(done)["other", "/r/tasks"][0] == "ok"
    assert (operator.renewals, operator.saved) == (renewals, saved)


async def test_a_dead_session_says_to_sign_in(
    platform: SimulatedPlatform, run_command: CommandFactory, operator: SignedIn
) -> None:
    """A refresh token that was used elsewhere is invalid; the line says what to do."""
    platform.access.refresh(operator.saved)
    config = {"api": API, "teams": [], "discover": [{"refresh_token_file": str(operator.path)}]}
    done = await run_command("check", config, arguments=["--online"])
    assert done.code == 1
    state, words = rows(done)["discover[0]", "/users/me"]
    assert state == "FAILED"
    assert f"sign in again and put a new refresh token into {operator.path}" in words


async def test_the_offline_mistakes_come_first(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """An invalid configuration is never tried: exit code 2, and no request is sent."""
    platform.add_team("render")
    config = {"api": API, "discover": [{"refresh_token_file": "missing"}]}
    done = await run_command("check", config, arguments=["--online"])
    assert done.code == 2
    assert "missing: no such file; expected a refresh token" in done.stderr
    assert not platform.journal


async def test_without_the_flag_nothing_is_asked(platform: SimulatedPlatform, run_command: CommandFactory) -> None:
    """`check` without `--online` sends no request."""
    platform.add_team("render")
    done = await run_command("check", {"api": API})
    assert (done.code, len(platform.journal)) == (0, 0)


@pytest.mark.assumes("users_me")
async def test_who_is_left_out_is_listed(
    platform: SimulatedPlatform, run_command: CommandFactory, operator: SignedIn
) -> None:
    """Teams that are wanted but not polled are failures, each with its reason; so are patterns that match nothing."""
    discover = {"refresh_token_file": str(operator.path), "name": "all"}
    platform.add_team("other", token="sk-of-another-team")
    done = await run_command(
        "check",
        {"api": API, "discover": [discover], "teams": [{"name": "Render"}]},
        tokens={"Render": "sk-of-another-team"},
        arguments=["--online"],
    )
    assert done.code == 1
    assert 'team "Render" is wanted but left out: its name is already used by a configured team' in done.stdout
    done = await run_command(
        "check", {"api": API, "teams": [], "discover": [{**discover, "include": ["none"]}]}, arguments=["--online"]
    )
    assert done.code == 1
    state, words = rows(done)["all", "/users/me"]
    assert (state, sorted(re.findall(r"Film|Render", words))) == ("FAILED", ["Film", "Render"])
    assert words.endswith("; no team is polled")

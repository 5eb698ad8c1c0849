import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from exporter.status import DiscoveryStatus, ExporterStatus, FleetStatus, LeftOutTeam, TeamStatus
from exporter.web import page

StatusOf = Callable[..., ExporterStatus]

NOW = 1_760_000_000.0

EVIL = "</bdi><script>alert('1')</script>\"><b>\u202e\x00\x1b[31m\ud800&amp;"


class Outline(HTMLParser):
    """Collects the page's tags, attribute names and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.said.append(data)


def outline(status: ExporterStatus, only: str | None = None) -> Outline:
    parser = Outline()
    parser.feed("".join(page.render(status, "/metrics", only)))
    return parser


def text(status: ExporterStatus, only: str | None = None) -> str:
    return re.sub(r"\s+", " ", " ".join(outline(status, only).said))


def verdict(status: ExporterStatus) -> str:
    found = re.search(r'<p class="verdict (\w+)">(.*?)</p>', "".join(page.render(status, "/metrics")))
    assert found
    return f"{found[1]}: {found[2]}"


def test_verdict_of_teams_that_are_up(status_of: StatusOf, up_team: TeamStatus) -> None:
    """When everything works the page says so in one line, whatever the number of teams."""
    assert verdict(status_of(up_team)) == "good: render is up"
    assert verdict(status_of(up_team, replace(up_team, name="b"))) == "good: All 2 teams are up"
    assert verdict(status_of()) == "wait: No teams are configured"


def test_verdict_names_the_team_that_is_down(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus) -> None:
    """A single team that is down is named with its list, the error and the last success."""
    expected = "bad: film is down since 08:52:20 UTC: tasks: 401: the key was revoked"
    assert verdict(status_of(up_team, down_team)) == expected


def test_verdict_of_a_team_that_never_worked(status_of: StatusOf, down_team: TeamStatus) -> None:
    """Without a successful poll no time is shown."""
    tasks, agents = down_team.collectors
    never = replace(down_team, collectors=(replace(tasks, last_success_at=None), agents))
    assert "film is down since it was first polled: tasks: 401" in verdict(status_of(never))


def test_verdict_of_withheld_data(status_of: StatusOf, up_team: TeamStatus) -> None:
    """A team whose last successful poll is too old is down, and its data is shown as withheld."""
    tasks, agents = up_team.collectors
    old = status_of(replace(up_team, collectors=(tasks, replace(agents, fresh=False))))
    assert verdict(old) == "bad: render is down since 08:53:00 UTC: agents: no fresh data"
    assert "✗ no fresh data" in text(old)
    assert "withheld , last read 20 s ago" in text(old)
    assert "the next one is late. What to do: " in text(old)


def test_data_that_is_withheld_because_the_platform_asked_to_wait(status_of: StatusOf, up_team: TeamStatus) -> None:
    """A wait requested for one list holds back the other too, whose data then ages without a failure."""
    waiting = [replace(each, fresh=False, backoff_until=NOW + 60) for each in up_team.collectors]
    said = text(status_of(replace(up_team, collectors=tuple(waiting))))
    assert said.count("The platform asked this team to wait, which holds back both of its lists.") == len(waiting)
    assert "the next one is late" not in said


def test_verdict_of_many_down(status_of: StatusOf, down_team: TeamStatus) -> None:
    """Of several teams that are down the first three are named."""
    teams = [replace(down_team, name=f"team {number}") for number in range(5)]
    assert verdict(status_of(*teams)) == "bad: 5 of 5 teams are down: team 0, team 1, team 2 and 2 more"


def test_verdict_while_starting(status_of: StatusOf, up_team: TeamStatus, new_team: TeamStatus) -> None:
    """A team that was not polled yet is shown as starting, not as down."""
    assert verdict(status_of(up_team, new_team)) == "wait: Starting: not polled yet: archive"
    assert "✗" not in text(status_of(up_team, new_team))


def test_a_team_shows_everything_known(status_of: StatusOf, down_team: TeamStatus) -> None:
    """State, schedule, credential and each poll are shown; a repeated error only once."""
    tasks, agents = down_team.collectors
    again = replace(tasks, attempts=(tasks.attempts[0],) * 3, truncated=True)
    team = replace(down_team, collectors=(again, agents), credential_expires_at=1_760_003_600.0, series_dropped=7)
    said = text(status_of(team), "film")
    for expected in (
        "✗ down",
        "Series 1,234",
        "Left out 7 series",
        "Next poll in 10 s",
        "Next poll held back until 08:55:30 UTC (in 2 min)",
        "integration, expires in 60 min ( 09:53:20 UTC )",
        "✗ failed 3 times in a row",
        "✗ auth",
        "Listed 4,200 tasks",
        "no: the list could not be read completely",
        "What to do: the credential is unknown, expired or revoked",
        "20 s ago 08:53:00",
        "80 ms",
    ):
        assert expected in said
    assert "✗ failed 3 times in a row 401: the key was revoked What to do" in said
    assert "the key was revoked" not in said.split("Poll (UTC)", 1)[1]  # it stands above the table already


def test_an_expired_credential_is_said(status_of: StatusOf, up_team: TeamStatus) -> None:
    """A past time is not shown as a future one."""
    assert "expired 10 s ago" in text(status_of(replace(up_team, credential_expires_at=1_759_999_990.0)))


@pytest.mark.parametrize(("skew", "said"), [(-0.4, False), (None, False), (42.0, True)])
def test_clock_skew(status_of: StatusOf, skew: float | None, said: bool) -> None:  # noqa: FBT001  a column
    """A clock difference of more than a few seconds is mentioned."""
    assert ("platform's clock is 42 s ahead" in text(replace(status_of(), clock_skew=skew))) is said


def test_a_refused_configuration_is_said(status_of: StatusOf) -> None:
    """After a failed reload the page says from when the configuration in use is."""
    refused = replace(status_of(), last_reload_ok=False, last_reload_ok_at=1_759_990_000.0)
    assert "has mistakes (see the log); the one from 06:06:40 UTC is still in use" in text(refused)
    assert "mistakes" not in text(status_of())


def test_the_first_line_is_the_fleet(status_of: StatusOf, up_team: TeamStatus) -> None:
    """Each team's line has waiting and running tasks and GPUs in use; an unknown number is never 0."""
    fleet = FleetStatus(tasks_waiting=1200, tasks_running=6, agents=1, gpus_in_use=5, gpu_capacity=8)
    assert "render ✓ up 1,200 waiting 6 running 1 agent 5 of 8 GPUs in use" in text(
        status_of(replace(up_team, fleet=fleet))
    )
    unknown = replace(up_team, fleet=replace(fleet, tasks_waiting=None, gpu_capacity=None, agents=0))
    assert "render ✓ up ? waiting 6 running 0 agents 5 GPUs in use" in text(status_of(unknown))


def test_healthy_teams_are_folded(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus) -> None:
    """Healthy teams take a line; a few teams that are down are unfolded, with the failing list first."""
    whole = "".join(page.render(status_of(up_team, down_team), "/metrics"))
    assert re.findall(r'<details class="card (\w+)"( open)?>', whole) == [("bad", " open"), ("good", "")]
    many = status_of(*(replace(down_team, name=f"t{number}") for number in range(page.OPEN_TEAMS + 3)))
    assert "".join(page.render(many, "/metrics")).count(" open>") == page.OPEN_TEAMS


def test_what_is_down_says_why(status_of: StatusOf, down_team: TeamStatus) -> None:
    """A team that is down shows why, even if only its line is visible; unfolded, only once."""
    for shown in (page.OPEN_TEAMS, page.FULL_TEAMS):
        teams = status_of(*(replace(down_team, name=f"t{number}") for number in range(shown + 1)))
        folded = text(teams).split("JSON", 1)[1].split(f" t{shown} ", 1)[1]
        assert "GPUs in use down since 08:52:20 UTC: tasks: 401: the key was revoked" in folded.split("tasks ✗", 1)[0]
    assert "down since" not in text(status_of(down_team)).split("JSON", 1)[1]


def test_names_are_sorted_as_people_sort(status_of: StatusOf, down_team: TeamStatus) -> None:
    """Names are sorted by the value of their numbers, in the cards and in the verdict."""
    said = text(status_of(*(replace(down_team, name=name) for name in ("team-10", "team-2", "7", "team", "team-2b"))))
    assert "5 of 5 teams are down: 7, team, team-2 and 2 more" in said
    assert re.findall(r"(\S+) ✗ down", said) == ["7", "team", "team-2", "team-2b", "team-10"]


def test_the_failing_list_stands_first(status_of: StatusOf, up_team: TeamStatus) -> None:
    """Whichever list fails, its error and advice come before the other list."""
    tasks, agents = up_team.collectors
    attempt = replace(agents.attempts[0], reason="tls", error="TLS failed: unknown authority", items=None)
    failing = replace(agents, attempts=(attempt, *agents.attempts[1:]), success=False, failures_in_a_row=1)
    said = text(status_of(replace(up_team, collectors=(tasks, failing))), "render").split("JSON", 1)[1]
    order = ("agents ✗ failed once", "TLS failed: unknown", "What to do: check that the certificate", "tasks ✓ ok")
    assert sorted(order, key=said.index) == list(order)


def test_one_list_that_is_held_back(status_of: StatusOf, up_team: TeamStatus) -> None:
    """Each list shows when it is polled next; one that is held back shows only until when."""
    tasks, agents = up_team.collectors
    held = replace(up_team, collectors=(tasks, replace(agents, backoff_until=NOW + 60)))
    said = text(status_of(held), "render")
    assert re.findall(r"Next poll (in 10 s|held back until 08:54:20 UTC \(in 60 s\))", said) == [
        "in 10 s",
        "held back until 08:54:20 UTC (in 60 s)",
    ]
    assert said.count("Next poll") == len(held.collectors)


def test_an_error_of_ours_leads_to_the_log(status_of: StatusOf, down_team: TeamStatus) -> None:
    """An internal error has advice too."""
    tasks, agents = down_team.collectors
    ours = replace(tasks, attempts=(replace(tasks.attempts[0], reason="internal", error="an error of the exporter"),))
    said = text(status_of(replace(down_team, collectors=(ours, agents))))
    assert "an error of the exporter What to do: see the exporter's log" in said


DISCOVERY = DiscoveryStatus("discover[0]", True, NOW - 9, NOW - 9, None, None, 2, (), 1)
FAILING = replace(DISCOVERY, success=False, reason="auth", error="GET /users/me: 401: no", last_success_at=None)


@pytest.mark.parametrize(
    ("discovery", "teams", "expected"),
    [
        (DISCOVERY, 1, "good: render is up"),
        (replace(DISCOVERY, success=False, last_attempt_at=None), 0, "wait: Starting: discovering teams: discover[0]"),
        (replace(DISCOVERY, success=False, last_attempt_at=None), 1, "wait: Starting: discovering teams: discover[0]"),
        (FAILING, 0, "bad: Teams cannot be discovered: discover[0]: GET /users/me: 401: no"),
        (FAILING, 1, "bad: Teams cannot be discovered: discover[0]: GET /users/me: 401: no"),
        (replace(DISCOVERY, polled=0), 0, "wait: No discovered team is polled"),
        (replace(DISCOVERY, polled=0), 1, "wait: render is up, no team of discover[0] is wanted"),
        (
            replace(DISCOVERY, polled=0, left_out=(LeftOutTeam("zoo", "taken"),)),
            0,
            "wait: No discovered team is polled, 1 discovered team is left out",
        ),
        (
            replace(DISCOVERY, left_out=(LeftOutTeam("zoo", "taken"), LeftOutTeam("b", "taken"))),
            1,
            "wait: render is up, 2 discovered teams are left out",
        ),
    ],
)
def test_verdict_of_discoveries(
    status_of: StatusOf, up_team: TeamStatus, discovery: DiscoveryStatus, teams: int, expected: str
) -> None:
    """The page is neither green nor says "no teams" while the teams are not known."""
    assert verdict(replace(status_of(*[up_team] * teams), discoveries=(discovery,))) == expected


def test_each_discovery_is_shown(status_of: StatusOf, up_team: TeamStatus) -> None:
    """Discoveries show their teams, who is left out and why, and advice; healthy ones are below the teams."""
    left_out = replace(DISCOVERY, name="discover[1]", left_out=(LeftOutTeam("zoo", "the name zoo is taken"),))
    failing = replace(FAILING, name="discover[2]")
    said = text(replace(status_of(up_team), discoveries=(DISCOVERY, left_out, failing)))
    order = (
        "Discovery discover[1] ! needs attention 2 polled, 1 left out, 1 not wanted; asked 9 s ago Left out: zoo",
        "Discovery discover[2] ✗ failed no teams known yet GET /users/me: 401: no What to do: the credential",
        "render ✓ up",
        "Discovery discover[0] ✓ ok 2 polled, 0 left out, 1 not wanted; asked 9 s ago",
    )
    assert all(each in said for each in order), said
    assert sorted(order, key=said.index) == list(order)


def test_credentials_are_masked(status_of: StatusOf, down_team: TeamStatus) -> None:
    """A credential that the platform repeats is masked on the page."""
    tasks, agents = down_team.collectors
    error = "502: https://bob:hunter2@vault.internal/ refused Bearer rt-0123456789"
    leaking = replace(tasks, attempts=(replace(tasks.attempts[0], error=error),))
    whole = "".join(page.render(status_of(replace(down_team, collectors=(leaking, agents))), "/metrics"))
    assert whole.count("https://***@vault.internal/ refused Bearer ***") == 3  # title, verdict, card


def test_hostile_text_stays_text(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus) -> None:
    """Names and errors add no tag and no attribute anywhere, and are shown as they are."""
    tasks, agents = down_team.collectors
    bad = replace(tasks, attempts=tuple(replace(each, error=EVIL, reason=EVIL) for each in tasks.attempts))
    hostile = replace(down_team, name=EVIL, team_id=EVIL, credential_kind=EVIL, collectors=(bad, agents))
    many = [replace(hostile, name=f"{EVIL}{number}") for number in range(page.FULL_TEAMS + 1)]
    harmless = outline(status_of(*(replace(down_team, name=f"{number}") for number in range(len(many)))))
    for status, only in ((status_of(hostile, up_team), None), (status_of(*many), None), (status_of(up_team), EVIL)):
        seen = outline(status, only)
        assert seen.tags <= harmless.tags
        assert seen.attributes <= harmless.attributes
        assert "<script>alert('1')</script>" in "".join(seen.said)
        assert not set("".join(seen.said)) & set("\u202e\x00\x1b\ud800")


def test_teams_that_are_down_come_first(
    status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus, new_team: TeamStatus
) -> None:
    """Teams that are down come first, then those starting, then those up."""
    said = text(status_of(up_team, new_team, replace(down_team, name="zoo"))).split("documentation", 1)[1]
    assert said.index("zoo") < said.index("archive") < said.index("render")


def test_thousands_of_teams_stay_quick(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus) -> None:
    """The page of 2,000 teams is under 1 MB, rendered in small steps, and has every team."""
    teams = [replace(up_team, name=f"team-{number:04}") for number in range(2000)]
    pieces = list(page.render(status_of(*teams, down_team), "/metrics"))
    whole = "".join(pieces)
    assert len(whole) < 1_000_000
    assert max(map(len, pieces)) < 10_000
    assert all(team.name in whole for team in teams)
    assert whole.count("<details class") == page.FULL_TEAMS
    assert whole.count(" open>") == 1


def test_one_team_alone(status_of: StatusOf, up_team: TeamStatus, down_team: TeamStatus) -> None:
    """`?team=` shows one team, unfolded; for an unknown name the page says so."""
    status = status_of(up_team, down_team)
    alone = "".join(page.render(status, "/metrics", "render"))
    assert re.findall("<details.*?>", alone) == ['<details class="card good" open>', "<details open>", "<details open>"]
    assert "No team is named nobody" in text(status, "nobody")

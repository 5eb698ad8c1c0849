from dataclasses import replace

import pytest

from exporter.cli.online import USES, _aligned, _collected, _platform, _quotas, counted
from exporter.config.load import load
from exporter.errors import ADVICE, INTERNAL, REASONS, advice
from exporter.status import Attempt, CollectorStatus, ExporterStatus, QuotaStatus, TeamStatus
from fixtures import TEAM_ID


def test_every_reason_has_advice() -> None:
    """Whatever fails, the line says what to do, in a separate clause."""
    assert set(ADVICE) == set(REASONS)
    assert len(set(ADVICE.values())) == len(REASONS)
    assert all(text.isprintable() and not text.endswith(".") for text in ADVICE.values())


def collector(**changed: object) -> CollectorStatus:
    attempt = Attempt(0.0, 0.25, 7, 5, None, None)
    values = {"name": "tasks", "interval": 30.0, "attempts": (attempt,), "success": True, "fresh": True}
    values |= {"last_attempt_at": 0.0, "last_success_at": 0.0, "items": 5, "items_reported": 6, "truncated": False}
    return CollectorStatus(**{**values, "failures_in_a_row": 0, "backoff_until": None, **changed})  # type: ignore[arg-type]  # values by name


def team(kind: str, team_id: str | None) -> TeamStatus:
    return TeamStatus("render", team_id, kind, (), None, None, None, 10, 0)


@pytest.mark.parametrize(
    ("kind", "team_id", "words"),
    [
        ("integration", None, "integration key, for /r/ paths, of one team; 6 tasks; 7 requests in 0.2 s, every 30s"),
        (
            "device",
            TEAM_ID,
            (
                f"device key, for all paths, of one team; team_id {TEAM_ID} is not checked,"
                " because the key determines its team;"
                " 6 tasks; 7 requests in 0.2 s, every 30s"
            ),
        ),
        ("jwt", TEAM_ID, f"user JWT, for all paths; team {TEAM_ID}; 6 tasks; 7 requests in 0.2 s, every 30s"),
    ],
)
def test_what_a_credential_may(kind: str, team_id: str | None, words: str) -> None:
    """The line has the credential's kind, its uses and its team, and what was read and what it costs."""
    assert kind in USES
    line = _collected(team(kind, team_id), collector(), "/r/tasks", 7)
    assert (line.ok, line.words) == (True, words)


@pytest.mark.parametrize(
    ("quotas", "warning", "words"),
    [
        (QuotaStatus(limits=3), False, "3 limits found"),
        (QuotaStatus(limits=1), False, "1 limit found"),
        (QuotaStatus(limits=0), False, "no limits found"),
        (
            QuotaStatus(limits=0, reason="not_found", error="GET /users/me: 404"),
            True,
            "quotas are optional and cannot be read: GET /users/me: 404",
        ),
    ],
)
def test_quotas_are_optional(quotas: QuotaStatus, warning: bool, words: str) -> None:  # noqa: FBT001  passed by name
    """The line has the number of limits; if they cannot be read, that is a warning without advice, not a failure."""
    line = _quotas("render", quotas)
    assert (line.ok, line.warning, line.words) == (True, warning, words)
    assert [("warning" in text, "FAILED" in text) for text in _aligned([line])] == [(warning, False)]


@pytest.mark.parametrize(
    ("filtered", "words"),
    [
        (None, "every 30s"),
        (True, "; provisioning is counted as a status"),
        (False, "; the platform does not filter by provisioning, so such tasks are counted as other"),
    ],
)
def test_what_becomes_of_provisioning(filtered: bool | None, words: str) -> None:  # noqa: FBT001  passed by name
    """The line of the tasks says how such tasks are counted."""
    known = replace(team("device", None), provisioning_filtered=filtered)
    assert _collected(known, collector(), "/r/tasks", 7).words.endswith(words)
    assert _collected(known, collector(name="agents"), "/agents", 1).words.endswith("every 30s")


def test_totals_that_ignore_the_filter() -> None:
    """The line of the tasks says that they are counted by their pages, which costs more requests."""
    known = replace(team("device", None), totals_ignore_filter=True)
    words = "; the platform's totals ignore the status filter, so lists are counted by their pages"
    assert _collected(known, collector(), "/r/tasks", 7).words.endswith(words)


def test_one_of_a_list_is_one() -> None:
    """Singular and plural of the counted items are right."""
    one = collector(name="agents", items_reported=1)
    assert "; 1 agent; " in _collected(team("device", None), one, "/agents", 1).words


def test_part_of_a_list_is_said() -> None:
    """A list that could not be read completely is not a failure, but is mentioned."""
    line = _collected(team("device", None), collector(truncated=True), "/r/tasks", 7)
    assert (line.ok, line.words.endswith("; only some of them could be read")) == (True, True)


def test_a_failure_inside_the_exporter_is_one() -> None:
    """A failure without a reason from the platform is a failure too."""
    broken = collector(success=False, attempts=(Attempt(0.0, 0.1, 0, None, INTERNAL, "a mistake"),))
    line = _collected(team("device", None), broken, "/r/tasks", 7)
    assert (line.ok, line.words) == (False, f"a mistake; {advice(INTERNAL)}")


@pytest.mark.parametrize(
    ("skew", "base_url", "lines"),
    [
        (None, "http://a/api", ["tls        none: credentials are sent unencrypted"]),
        (
            4.94,
            "https://a/api",
            [
                "tls        verified against the system's authorities",
                "clock      the platform's is 4.9 s ahead of ours",
            ],
        ),
        (
            -5.0,
            "https://a/api",
            [
                "tls        verified against the system's authorities",
                "clock      the platform's is 5.0 s behind ours; correct one of them",
            ],
        ),
    ],
)
def test_what_concerns_the_platform(skew: float | None, base_url: str, lines: list[str]) -> None:
    """TLS and clocks are mentioned once, before the teams."""
    settings = load(None, {}, {"api": {"base_url": base_url}, "teams": [{"name": "a", "token_env": "A"}]})
    status = ExporterStatus("1", 0.0, 0.0, 120.0, skew, ())
    assert list(_platform(settings, status)) == lines


@pytest.mark.parametrize(("number", "words"), [(0, "0 teams"), (1, "1 team"), (2, "2 teams")])
def test_numbers_of_things(number: int, words: str) -> None:
    """One thing is in the singular."""
    assert counted(number, "team") == words

from collections import Counter

import pytest

from exporter.catalog import REQUEST_BUCKETS
from exporter.expose.counters import ApiCounters
from exporter.platform import wire


@pytest.fixture
def counters() -> ApiCounters:
    counters = ApiCounters()
    counters.start("render", ("/r/tasks", "/agents"))
    return counters


def test_everything_starts_at_0(counters: ApiCounters) -> None:
    """The paths of a team are known, and every field has a count, before anything happens."""
    assert counters.paths == {"render": ("/r/tasks", "/agents")}
    assert counters.unknown == dict.fromkeys(wire.FIELDS, 0)


def test_starting_again_keeps_what_was_counted(counters: ApiCounters) -> None:
    """A counter never decreases: a reconfigured team continues its counters."""
    counters.request("render", "/agents")
    counters.failed("render", "/agents", "timeout")
    counters.start("render", ("/agents",))
    assert counters.requests["render", "/agents"] == 1
    assert counters.failures["render", "/agents", "timeout"] == 1


def test_forgotten_team(counters: ApiCounters) -> None:
    """The counters of a team that is gone end; those of the others stay."""
    counters.start("film", ("/agents",))
    for team in ("render", "film"):
        counters.request(team, "/agents")
        counters.failed(team, "/agents", "timeout")
    counters.forget("render")
    assert counters.paths == {"film": ("/agents",)}
    assert set(counters.requests) == {("film", "/agents")}
    assert {team for team, _, _ in counters.failures} == {"film"}


def test_the_last_requests_of_a_team_that_is_gone(counters: ApiCounters) -> None:
    """A poll that is being cancelled may send once more, and must not bring the counters of its team back."""
    counters.forget("render")
    counters.request("render", "/agents")
    counters.failed("render", "/agents", "timeout")
    assert (counters.paths, +counters.requests, +counters.failures) == ({}, {}, {})


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.01, 0), (0.0100001, 1), (0.5, 5), (30.0, 10), (30.1, 11), (3600.0, 11)]
)
def test_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed(
    counters: ApiCounters, seconds: float, bucket: int
) -> None:
    """An observation equal to a bound is in that bucket; one above the last bound is in the unbounded one."""
    counters.answered("/agents", seconds)
    counters.answered("/agents", 0.3)
    counts, total = counters.seconds["/agents"]
    expected = [0] * (len(REQUEST_BUCKETS) + 1)
    expected[bucket] += 1
    expected[5] += 1
    assert counts == expected
    assert total == pytest.approx(seconds + 0.3)


def test_unknown_values_add_up(counters: ApiCounters) -> None:
    """Dropped values are counted by field, over all teams."""
    counters.unknown_values(Counter({"agent_status": 2}))
    counters.unknown_values(Counter({"agent_status": 1, "id": 4}))
    assert (counters.unknown["agent_status"], counters.unknown["id"]) == (3, 4)


def test_clock_skew_is_that_of_the_last_answer(counters: ApiCounters) -> None:
    """The skew is unknown before the first answer, and updated by each."""
    assert counters.skew is None
    counters.clock_skew(2.0)
    counters.clock_skew(-0.5)
    assert counters.skew == -0.5

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from exporter.expose import families
from exporter.expose.text import Samples
from exporter.fleet.agents import Agent, Gpu
from exporter.fleet.assignment import Assignment
from exporter.fleet.presence import Presence


def lines(samples: Samples) -> list[str]:
    return b"".join(text for _, text in samples.families()).decode().splitlines()


def of(*agents: Agent, with_labels: bool = False) -> list[str]:
    samples = Samples()
    families.add_agents(samples, "render", agents, with_labels=with_labels)
    return lines(samples)


def test_what_is_not_known_has_no_series() -> None:
    """An agent about which nothing is known has only its info: no number is zero for lack of data."""
    [line] = of(Agent(agent_id="a"))
    assert line.startswith('cyberun_agent_info{team_name="render",agent_id="a",agent_version="",')


def test_gpu_without_sizes() -> None:
    """A GPU with unknown memory has only its info, with its position."""
    found = of(Agent(agent_id="a", gpus=(Gpu(position=3, device_name="RTX", vram_free=0),)))[1:]
    assert found == [
        'cyberun_agent_gpu_vram_free_bytes{team_name="render",agent_id="a",gpu="3"} 0',
        'cyberun_agent_gpu_info{team_name="render",agent_id="a",gpu="3",device_name="RTX",device_type=""} 1',
    ]


def test_labels_are_in_order() -> None:
    """The same labels give the same bytes."""
    found = [
        line.split('label="')[1][0] for line in of(Agent(agent_id="a", labels=frozenset("cab")), with_labels=True)[1:]
    ]
    assert found == ["a", "b", "c"]


def test_presence() -> None:
    """Connected agents, former ones, and expected ones that were never seen, which have no time."""
    samples = Samples()
    presence = Presence({"gone": 5.0, "here": 9.5}, frozenset({"here"}))
    families.add_presence(samples, "render", presence, frozenset({"here", "gone", "never"}))
    assert lines(samples) == [
        'cyberun_agent_connected{team_name="render",agent_id="gone"} 0',
        'cyberun_agent_connected{team_name="render",agent_id="here"} 1',
        'cyberun_agent_connected{team_name="render",agent_id="never"} 0',
        'cyberun_agent_last_seen_timestamp_seconds{team_name="render",agent_id="gone"} 5.0',
        'cyberun_agent_last_seen_timestamp_seconds{team_name="render",agent_id="here"} 9.5',
    ]


NUMBERS = st.none() | st.integers(0, 9)
GPUS = st.builds(Gpu, position=st.integers(0, 3), vram_size=NUMBERS, vram_free=NUMBERS)
ANY_AGENT = {
    **dict.fromkeys(families.AGENT_NUMBERS.values(), NUMBERS),
    "agent_id": st.just("a"),
    "status": st.none() | st.sampled_from(families.REPORTED_AGENT_STATUSES),
    "sync": st.none() | st.just(("downloading", 0.5)),
    "versions": st.just(("",) * 7),
    "labels": st.frozensets(st.sampled_from("abc")),
    "gpus": st.lists(GPUS, max_size=3).map(tuple),
}


def test_agents_are_drawn_with_everything_they_can_have() -> None:
    """The next test would not notice an attribute that is never set."""
    assert {field.name for field in fields(Agent)} == ANY_AGENT.keys()


@given(st.builds(Agent, **ANY_AGENT), st.booleans())
def test_series_are_counted_as_they_are_rendered(agent: Agent, with_labels: bool) -> None:  # noqa: FBT001  drawn
    """The computed number of an agent's series is the number that is rendered."""
    samples = Samples()
    families.add_agents(samples, "render", [agent], with_labels=with_labels)
    families.add_presence(samples, "render", Presence({"a": 1.0}, frozenset({"a"})), frozenset())
    failed = Assignment(without_eligible_agent=None, on_absent_agents=None, failed={"a": 0})
    families.add_assignment(samples, "render", failed)
    assert families.series_of_agent(agent, with_labels=with_labels) == samples.count

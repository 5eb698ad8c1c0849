"""Assumptions where the documentation leaves something open; the simulated platform can behave either way."""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from exporter.demo.fleet import Listing
from exporter.demo.wire import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is inferred, not documented. Each default is how this project reads the documentation.

    Attributes:
        status_field: what a task calls its status; None leaves it out.
        labels_before_assignment: `agent_labels` of a task without an agent are the labels it requires; otherwise a task
            has them only once it has an agent.
        users_me: a deployment serves `/users/me`; otherwise it is 404.
        nested_team_quotas: `feature_flags.teams` holds `{features, quotas}` for a team; otherwise its limits alone.
        provisioning_filter: the `status` filter takes `provisioning`; otherwise that is 400.
        filtered_total: `total_count` of a filtered list counts what passes the filter; otherwise all tasks.
        stable_order: lists keep their order from page to page; otherwise each request finds another one.
        uuid_team_ids: the id of a team is a UUID; otherwise a word such as `team_01HX…`.
        unique_agent_ids: a team's agents have different ids; otherwise two machines share the first one.
    """

    status_field: str | None = "task_status"
    labels_before_assignment: bool = True
    users_me: bool = True
    nested_team_quotas: bool = True
    provisioning_filter: bool = False
    filtered_total: bool = True
    stable_order: bool = True
    uuid_team_ids: bool = True
    unique_agent_ids: bool = True


ASSUMED: Final = Assumptions()
_REVERSED: Final = Assumptions(
    status_field="status",
    labels_before_assignment=False,
    users_me=False,
    nested_team_quotas=False,
    provisioning_filter=True,
    filtered_total=False,
    stable_order=False,
    uuid_team_ids=False,
    unique_agent_ids=False,
)
ASSUMPTIONS: Final = tuple(each.name for each in fields(Assumptions))
"""The names of all assumptions."""


class UnknownAssumptionError(ValueError):
    """There is no assumption of this name."""


def reverse(*names: str) -> Assumptions:
    """The assumptions with these reversed, and all others as they are.

    Raises:
        UnknownAssumptionError: there is none of such a name.
    """
    for name in names:
        if name not in ASSUMPTIONS:
            raise UnknownAssumptionError(f"found {name!r}; allowed: {', '.join(ASSUMPTIONS)}")
    return replace(ASSUMED, **{name: getattr(_REVERSED, name) for name in names})


def task_as_sent(task: Item, assumed: Assumptions) -> Item:
    """A task with the fields that these assumptions give it."""
    sent = dict(task)
    if not assumed.labels_before_assignment and not task.get("agent_id"):
        sent.pop("agent_labels", None)
    if assumed.status_field != "task_status" and "task_status" in sent:
        status = sent.pop("task_status")
        if assumed.status_field is not None:
            sent[assumed.status_field] = status
    return sent


def each(listing: Listing, assumed: Assumptions) -> Listing:
    """A list of tasks as they are sent."""
    if assumed.status_field == "task_status" and assumed.labels_before_assignment:
        return listing
    return Listing(listing.total, lambda *cut: [task_as_sent(task, assumed) for task in listing.cut(*cut)])


def turned(listing: Listing, by: int) -> Listing:
    """The same items in another order: this many of the first move to the end."""
    first = by % max(listing.total, 1)

    def cut(start: int, count: int) -> list[Any]:
        stop = min(start + count, listing.total)
        after = listing.cut(start + first, max(min(stop, listing.total - first) - start, 0))
        before = max(start, listing.total - first)
        return after + listing.cut(before - listing.total + first, max(stop - before, 0))

    return Listing(listing.total, cut)


def with_twin(listing: Listing) -> Listing:
    """The agents, with the first one repeated as another machine with the same id."""
    if not listing.total:
        return listing

    def cut(start: int, count: int) -> list[Any]:
        twin = [{**agent, "tool": "blender"} for agent in listing.cut(0, 1)]
        return listing.cut(start, count) + (twin if start <= listing.total < start + count else [])

    return Listing(listing.total + 1, cut)

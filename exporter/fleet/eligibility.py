"""Which waiting tasks the connected agents can take."""

from collections.abc import Iterable, Mapping


def without_eligible_agent(
    required: Mapping[frozenset[str], int] | None, offered: Iterable[frozenset[str]]
) -> int | None:
    """How many tasks no agent can take; None when that is unknown.

    Args:
        required: how many tasks require each set of labels; None when no task says.
        offered: the label sets of the connected agents. An agent is eligible when its set holds all required ones.
    """
    if required is None:
        return None
    offered = tuple(offered)
    return sum(count for labels, count in required.items() if not any(labels <= has for has in offered))

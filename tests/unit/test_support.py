import pytest

from support import parse_openmetrics, parse_text, wait_until

TWICE = '# TYPE a gauge\na{x="1",y="2"} 1\na{y="2",x="1"} 2\n'


def test_a_series_that_comes_twice_is_refused() -> None:
    """Two samples with one name and the same labels, in whatever order, are an error in both formats."""
    with pytest.raises(ValueError, match="comes twice"):
        parse_text(TWICE)
    with pytest.raises(ValueError, match="comes twice"):
        parse_openmetrics(TWICE + "# EOF\n")


def test_a_family_that_comes_twice_is_refused() -> None:
    """Samples of a family must be contiguous."""
    with pytest.raises(ValueError, match="family a comes twice"):
        parse_text("# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\na 2\n")


def test_samples_are_found_by_name_and_labels() -> None:
    """A value is found by all of its labels, series by some of them."""
    samples = parse_text('# TYPE a gauge\na{x="1",y="2"} 1\na{x="1",y="3"} 2\nb_total 3\n')
    assert samples.value("a", x="1", y="3") == 2
    assert samples.value("a", x="1") is None
    assert samples.series("a", x="1") == [{"x": "1", "y": "2"}, {"x": "1", "y": "3"}]
    assert samples.names() == {"a", "b_total"}


async def test_waiting_ends() -> None:
    """Waiting in vain ends in an error that shows the last result."""

    async def nothing() -> list[int]:
        return []

    with pytest.raises(TimeoutError, match=r"not within 0 s"):
        await wait_until(nothing, within=0)

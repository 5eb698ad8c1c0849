from hypothesis import given
from hypothesis import strategies as st

from exporter.web.send import sliced


@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_slices_hold_the_same_bytes(parts: list[bytes], size: int) -> None:
    """However the parts are cut, all bytes come out in order, none in a slice that is too long or empty."""
    slices = [bytes(each) for each in sliced(parts, size)]
    assert b"".join(slices) == b"".join(parts)
    assert all(len(each) <= size for each in slices)


def test_small_parts_travel_together() -> None:
    """Thousands of small parts make few writes."""
    assert [len(each) for each in sliced([b"x" * 10] * 1000, 4000)] == [4000, 4000, 2000]

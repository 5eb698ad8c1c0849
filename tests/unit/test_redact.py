import time

import pytest

from exporter.redact import is_credential, quoted, redact


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("sk-abc", "sk-***"),
        ("key dk-A_b-9, then", "key dk-***, then"),
        ('{"k": "ak-abc.def"}', '{"k": "ak-***"}'),
        ("eyJhbGciOi.eyJzdWIi.sig_-x end", "eyJ*** end"),
        ("Authorization: Bearer opaque+/=token", "Authorization: Bearer ***"),
        ("Bearer sk-abc", "Bearer sk-***"),
        ("https://user:pass@host/path", "https://***@host/path"),
        ("https://token@host", "https://***@host"),
        ("https://user:p@ss/word@host", "https://***@host"),
        ("proxy=user:pass@host", "proxy=***@host"),
        ("sk-a\nsk-b", "sk-***\nsk-***"),
        ("path/sk-abc", "path/sk-***"),
        ("sk-a\x00tail", "sk-***"),
        ("key_file: -----BEGIN EC PRIVATE KEY-----\nMIGH\n-----END", "key_file: ***-----END"),
        ("-----BEGIN PRIVATE KEY-----MIGH", "***"),
        ("prom: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG!", "prom: ***!"),
    ],
)
def test_credentials_are_masked(text: str, kept: str) -> None:
    """Only the kind of the credential stays readable."""
    assert redact(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task-1 is done",
        "disk-full",
        "risk-team",
        "mail me@example.com",
        "http://host:80/x",
        "at 10:30",
        "key: x@y",
        "sk-",
    ],
)
def test_other_text_stays(text: str) -> None:
    """What is no credential is not touched."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    ["sk-", "eyJ", "://", "a:", "=a:", "@", ":@", "Bearer ", "a", "(a:b", "$2y$10$", "-----BEGIN PRIVATE KEY-----"],
)
def test_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    """Repetition does not make masking explode."""
    text = unit * (100_000 // len(unit))
    started = time.perf_counter()
    redact(text)
    assert time.perf_counter() - started < 2


def test_a_credential_is_recognised_as_a_whole() -> None:
    """Text that merely contains one is not one."""
    assert is_credential("sk-abc")
    assert is_credential(" eyJx.y.z\n")
    assert not is_credential("./sk-abc")
    assert not is_credential("sk-abc or so")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a", '"a"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a\nb\t\x1b\x7f", '"a\\nb\\t\\u001b\\u007f"'),
        ("Ä渲😀", '"Ä渲😀"'),
        ("\u202e\u2028\udc80\U000e0001", '"\\u202e\\u2028\\udc80\\udb40\\udc01"'),
    ],
)
def test_quoted_text_is_one_printable_line(text: str, line: str) -> None:
    """Invisible characters are escaped, letters are not."""
    assert quoted(text) == line
    assert quoted(text).isprintable()

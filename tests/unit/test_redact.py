import re
import time
from urllib.parse import quote

import pytest

from exporter.redact import is_credential, kind_of, one_line, quoted, redact

KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"sk-{KEY}", "sk-***"),
        (f"key dk-A_b-9-{KEY}, then", "key dk-***, then"),
        (f'{{"k": "ak-abc.def.{KEY}"}}', '{"k": "ak-***"}'),
        ("eyJhbGciOi.eyJzdWIi.sig_-x end", "eyJ*** end"),
        ("Authorization: Bearer opaque+/=token", "Authorization: Bearer ***"),
        ("Bearer sk-abc", "Bearer ***"),
        ("https://user:pass@host/path", "https://***@host/path"),
        ("https://token@host", "https://***@host"),
        ("https://user:p@ss/word@host", "https://***@host"),
        ("proxy=user:pass@host", "proxy=***@host"),
        (f"sk-a{KEY}\nsk-b{KEY}", "sk-***\nsk-***"),
        (f"path/sk-{KEY}", "path/sk-***"),
        (f"sk-{KEY}\x00tail", "sk-***"),
        ("key_file: -----BEGIN EC PRIVATE KEY-----\nMIGH\n-----END", "key_file: ***-----END"),
        ("-----BEGIN PRIVATE KEY-----MIGH", "***"),
        ("prom: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG!", "prom: ***!"),
    ],
)
def test_credentials_are_masked(text: str, kept: str) -> None:
    """A credential is masked except for its prefix."""
    assert redact(text) == kept


SECRET = "sk-Proj-0aB1cD2eF3gH4+iJ/="


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET.removeprefix("sk-"),
        SECRET.lower(),
        SECRET.upper(),
        SECRET[5:17],
        quote(SECRET),
        quote(quote(SECRET)),
        "".join(f"%{ord(char):02X}" for char in SECRET),
        "".join(f"%25{ord(char):02x}" for char in SECRET),
        "".join(f"&#{ord(char)};" for char in SECRET),
        "".join(f"&#x{ord(char):x};" for char in SECRET),
        "".join(f"\\u{ord(char):04x}" for char in SECRET),
        " ".join(SECRET),
        "\u200b".join(SECRET),
        "\n".join((SECRET[:9], SECRET[9:14], SECRET[14:])),
        "\\n".join((SECRET[:9], SECRET[9:14], SECRET[14:])),
        "-".join((SECRET[:9], SECRET[9:14], SECRET[14:])),
    ],
)
def test_a_known_secret_is_masked_however_it_is_written(text: str) -> None:
    """A known secret is masked without its prefix, in parts, in other case, encoded or split; other words are kept."""
    kept = redact(f"the key {text} is unknown", SECRET)
    assert re.fullmatch(r"the key .{0,18}\*\*\*.{0,24} is unknown", kept), kept
    assert not re.search("[0-9a-h]{6}", re.sub(r"[^a-z0-9]|25|%..|\\u....", "", kept.lower()).removesuffix("isunknown"))


@pytest.mark.parametrize("secret", [SECRET, "sk-a", "a", "+", ""])
def test_words_that_are_no_part_of_a_secret_stay(secret: str) -> None:
    """Fewer letters than identify a secret are not masked; a secret without letters masks nothing."""
    assert redact("Project 0ab1 is out of quota: 42%", secret).count("***") <= 3 * (secret == "a")
    assert redact("no such team", SECRET) == "no such team"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\r\n\tc \0\x1b[31m \u202e\u2028 d", "a b c [31m d"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("x" * 195 + SECRET, "x" * 195 + "***/="),
        (f"token\n{SECRET[:12]}\n{SECRET[12:]}", "token ***/="),
    ],
)
def test_text_from_outside_is_one_short_line(text: str, line: str) -> None:
    """`one_line` is printable, without the secret, and at most 200 characters."""
    assert one_line(text, SECRET) == line


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
        "sk-bratislava",
        "the team dk-aarhus-2",
    ],
)
def test_other_text_stays(text: str) -> None:
    """Text that is not a credential is unchanged."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "unit",
    ["sk-", "eyJ", "://", "a:", "=a:", "@", ":@", "Bearer ", "a", "(a:b", "$2y$10$", "-----BEGIN PRIVATE KEY-----"],
)
def test_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    """Repetitions do not make masking slow."""
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    redact(text)
    redact(text, SECRET)
    assert time.process_time() - started < 5, "of a processor: with its square it would be minutes"


def test_a_credential_is_recognised_as_a_whole() -> None:
    """A text that only contains a credential is not one."""
    assert is_credential(f"sk-{KEY}")
    assert is_credential(f" eyJx.y.z{KEY}\n")
    assert not is_credential(f"./sk-{KEY}")
    assert not is_credential(f"sk-{KEY} or so")


@pytest.mark.parametrize("text", ["sk-bratislava", "dk-aarhus", "ak-", "eyJ", "sk-0123456789abcde"])
def test_a_short_word_is_not_a_credential(text: str) -> None:
    """A credential has a prefix and a minimum length, so a team may be called `sk-bratislava`."""
    assert not is_credential(text)
    assert redact(f"team {text}") == f"team {text}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [("sk-a", "integration"), ("dk-a", "device"), ("ak-a", "agent"), ("eyJa", "jwt"), ("sk-", None), ("xk-a", None)],
)
def test_the_prefix_tells_the_kind(text: str, kind: str | None) -> None:
    """`kind_of` gives the kind of a known credential, however short."""
    assert kind_of(text) == kind


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

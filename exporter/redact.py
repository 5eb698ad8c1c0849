"""What credentials look like, and how text is made fit to print: without credentials, on one line."""

import json
import re
from typing import Final, Literal

Kind = Literal["integration", "device", "agent", "jwt"]

PREFIXES: Final[dict[str, Kind]] = {"sk-": "integration", "dk-": "device", "ak-": "agent", "eyJ": "jwt"}
"""What the platform's credentials start with."""
MIN_LENGTH: Final = 16
"""Minimum characters after the prefix for text to count as a credential: `sk-bratislava` may be a team."""
MAX_LINE: Final = 200
"""Maximum characters that `one_line` keeps."""
_MAX_READ: Final = 4096
"""Maximum characters of its input that `one_line` reads."""
_FRAGMENT: Final = 8
"""This many letters and digits in a row identify a part of a known secret."""

_CREDENTIAL: Final = (
    rf"(?P<prefix>{'|'.join(PREFIXES)})(?=[^\s\"'`<>,;()\[\]{{}}]{{{MIN_LENGTH}}})"
    r"""[^\s"'`<>,;()\[\]{}]++"""
)
# Repetitions are bounded or possessive, so matching takes linear time on hostile text too.
_SECRET: Final = re.compile(
    rf"""(?<![A-Za-z0-9]){_CREDENTIAL}"""
    r"""|(?<=Bearer )[^\s"'`<>,;]++"""
    r"""|(?<=://)[^\s"'`<>]{0,256}@"""
    r"""|(?<![^\s"'`<>(=,])[^\s"'`<>(=,:/@]{1,64}+:(?!//)[^\s"'`<>]{1,256}@"""
    r"""|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*+"""
    r"""|\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]++"""
)
_WHOLE: Final = re.compile(_CREDENTIAL)
_INVISIBLE: Final = re.compile(r"[\x00-\x1f\x7f-\U0010ffff]")
# A letter or digit in any encoding: percent-encoded (once or more), a JSON escape, an HTML entity, or plain.
_SPELLED: Final = re.compile(
    r"%(?:25)*(?P<percent>[0-9A-Fa-f]{2})|\\u00(?P<escape>[0-9A-Fa-f]{2})|\\[bfnrt]"
    r"|&#x0*(?P<hex>[0-9A-Fa-f]{2});|&#0*(?P<decimal>[0-9]{2,3});|(?P<plain>[A-Za-z0-9])"
)


def redact(text: str, secret: str = "") -> str:
    """The text with everything that looks like a credential masked.

    Masked are the platform's keys (`sk-`, `dk-`, `ak-`), JSON Web Tokens, bearer tokens, the user part of URLs,
    private keys in PEM and bcrypt hashes.

    Args:
        text: from any source.
        secret: a secret that the text may repeat; parts of it are masked, however they are encoded or split up.
    """
    return _SECRET.sub(_mask, _without(secret, text) if secret else text)


def _mask(found: re.Match[str]) -> str:
    return f"{found['prefix'] or ''}***{'@' if found[0].endswith('@') else ''}"


def _without(secret: str, text: str) -> str:
    """Mask every run of the secret's letters and digits, in any case and with anything else in between."""
    needle = "".join(_letter(found) for found in _SPELLED.finditer(secret))
    size = min(_FRAGMENT, len(needle))
    fragments = {needle[i : i + size] for i in range(len(needle) - size + 1)} if size else set()
    spelled = [(_letter(found), found.start(), found.end()) for found in _SPELLED.finditer(text)]
    spelled = [(letter, start, end) for letter, start, end in spelled if letter]
    letters = "".join(letter for letter, _, _ in spelled)
    pieces, done = [], 0
    for i in range(len(letters) - size + 1):
        if letters[i : i + size] in fragments:
            start, end = spelled[i][1], spelled[i + size - 1][2]
            if start >= done:
                pieces += [text[done:start], "***"]
            done = end
    return "".join((*pieces, text[done:]))


def _letter(found: re.Match[str]) -> str:
    """The letter or digit in lower case; an empty string for a separator."""
    digits = found["percent"] or found["escape"] or found["hex"]
    char = chr(int(digits, 16)) if digits else chr(int(found["decimal"])) if found["decimal"] else found["plain"] or ""
    return char.lower() if char.isascii() and char.isalnum() else ""


def is_credential(text: str) -> bool:
    """Whether the text as a whole looks like one of the platform's credentials."""
    return _WHOLE.fullmatch(text.strip()) is not None


def kind_of(credential: str) -> Kind | None:
    """The kind of a credential, by its prefix; None if it has none of them, or nothing after it."""
    begins = (kind for prefix, kind in PREFIXES.items() if credential.startswith(prefix) and credential != prefix)
    return next(begins, None)


def one_line(text: str, secret: str = "") -> str:
    """Text from outside as one printable line of at most `MAX_LINE` characters, redacted like with `redact`."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[:_MAX_READ]).split())
    line = redact(line, secret)
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


def quoted(text: str) -> str:
    """The text in double quotes on one line, escaped as in JSON; letters of every script stay as they are."""
    return _INVISIBLE.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]

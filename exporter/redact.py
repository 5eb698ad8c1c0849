"""What may be printed: text without credentials, on one line."""

import json
import re

_KEY = r"""(?P<kind>[sda]k-|eyJ)[^\s"'`<>,;()\[\]{}]++"""
# Bounded and possessive repetitions: hostile text costs no more than its length.
_SECRET = re.compile(
    rf"""(?<![A-Za-z0-9]){_KEY}"""
    r"""|(?<=Bearer )[^\s"'`<>,;]++"""
    r"""|(?<=://)[^\s"'`<>]{0,256}@"""
    r"""|(?<![^\s"'`<>(=,])[^\s"'`<>(=,:/@]{1,64}+:(?!//)[^\s"'`<>]{1,256}@"""
    r"""|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*+"""
    r"""|\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]++"""
)
_WHOLE = re.compile(_KEY)
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\U0010ffff]")


def redact(text: str) -> str:
    """The text with everything that looks like a credential masked.

    Masked are the platform's keys (`sk-`, `dk-`, `ak-`), JSON Web Tokens, bearer tokens, the user part of URLs,
    private keys in PEM and bcrypt hashes.
    """
    return _SECRET.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    return f"{found['kind'] or ''}***{'@' if found[0].endswith('@') else ''}"


def is_credential(text: str) -> bool:
    """Whether the text as a whole looks like one of the platform's credentials."""
    return _WHOLE.fullmatch(text.strip()) is not None


def quoted(text: str) -> str:
    """The text in double quotes on one line, escaped as in JSON; letters of every script stay as they are."""
    return _INVISIBLE.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]

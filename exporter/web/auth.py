"""Basic authentication against bcrypt hashes."""

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import bcrypt

LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at."""
MOST_WAITING: Final = 64
"""Checks that may wait for their turn. They are made one after the other: a flood takes one core and no more."""


class BusyError(Exception):
    """Too many checks are waiting."""


class Users:
    """Those who may enter. Mutable: it remembers which passwords were right, as keyed hashes."""

    def __init__(self, hashes: Mapping[str, str], key: bytes | None = None) -> None:
        self._hashes = {name: text.encode() for name, text in hashes.items()}
        self._names = sorted(hashes)
        self._key = secrets.token_bytes(32) if key is None else key
        self._right: dict[str, bytes] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def admits(self, authorization: Sequence[str]) -> bool:
        """Whether the request's Authorization headers, all of them, name a user with the right password.

        A wrong password and an unknown name cost the same: one check of a hash, for an unknown name that of a user
        which the name always falls on.

        Raises:
            BusyError: too many checks are waiting.
        """
        given = _credentials(authorization)
        if given is None:
            return False
        name, password = given
        digest = self._digest(name, password)
        # The key is no digest of anything: for those who were not let in before, a comparison in vain.
        if hmac.compare_digest(self._right.get(name, self._key), digest):
            return True
        if not await self._check(name, password):
            return False
        self._right[name] = digest
        return True

    def _digest(self, *parts: str | bytes) -> bytes:
        whole = blake2b(key=self._key, digest_size=32)
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode()
            whole.update(len(data).to_bytes(8) + data)
        return whole.digest()

    async def _check(self, name: str, password: bytes) -> bool:
        if self._waiting >= MOST_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self._matches, name, password)
        finally:
            self._waiting -= 1

    def _matches(self, name: str, password: bytes) -> bool:
        fallback = self._names[int.from_bytes(self._digest(name)) % len(self._names)]
        matches = bcrypt.checkpw(password, self._hashes.get(name, self._hashes[fallback]))
        return matches and name in self._hashes


def _credentials(authorization: Sequence[str]) -> tuple[str, bytes] | None:
    """The name and the password, as far as bcrypt looks at it; None when there is not exactly one that makes sense."""
    if len(authorization) != 1:
        return None
    scheme, _, encoded = authorization[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password[:LONGEST]) if colon and b"\0" not in password else None
    except (binascii.Error, ValueError):
        return None

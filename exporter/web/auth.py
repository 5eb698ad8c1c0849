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

MAX_PASSWORD: Final = 72
"""Maximum bytes of a password that bcrypt uses."""
MAX_WAITING: Final = 64
"""Maximum number of checks that may wait. They run one at a time, so a flood of requests uses only one core."""


class BusyError(Exception):
    """Too many checks are waiting, or this machine has no thread for one."""


class PasswordChecker:
    """Checks passwords. Mutable: it remembers correct ones, by user and hash, as keyed digests.

    So a client with a correct password does not queue behind one that guesses, even after the web configuration is
    read again: a remembered password stays valid as long as its hash does.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[tuple[str, str], bytes] = {}
        """By name and hash."""
        self._waiting = 0
        self._checking = asyncio.Lock()

    async def admits(self, users: Mapping[str, str], authorization: Sequence[str]) -> bool:
        """Whether a request's Authorization headers name a user with the correct password.

        A wrong password and an unknown name take the same time: one check of a hash. For an unknown name it is the
        hash of some user, which depends only on the name.

        Args:
            users: bcrypt hashes by name; at least one.
            authorization: all Authorization headers of the request.

        Raises:
            BusyError: the password cannot be checked now.
        """
        given = _credentials(authorization)
        if given is None:
            return False
        name, password = given
        known = users.get(name, self._some_hash(users, name))
        digest = self._digest(name, password)
        # Without a remembered digest, compare with the key, which equals no digest, so that it takes the same time.
        if hmac.compare_digest(self._right.get((name, known), self._key), digest):
            return name in users
        if not await self._check(known, password) or name not in users:
            return False
        self._right[name, known] = digest
        return True

    def _some_hash(self, users: Mapping[str, str], name: str) -> str:
        return users[sorted(users)[int.from_bytes(self._digest(name)) % len(users)]]

    def _digest(self, *parts: str | bytes) -> bytes:
        digest = blake2b(key=self._key, digest_size=32)
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode()
            digest.update(len(data).to_bytes(8) + data)
        return digest.digest()

    async def _check(self, known: str, password: bytes) -> bool:
        if self._waiting >= MAX_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            async with self._checking:
                return await asyncio.to_thread(bcrypt.checkpw, password, known.encode())
        except RuntimeError as error:  # can't start new thread
            raise BusyError from error
        finally:
            self._waiting -= 1


def _credentials(authorization: Sequence[str]) -> tuple[str, bytes] | None:
    """The name and the password, cut to what bcrypt uses; None unless there is exactly one valid header."""
    if len(authorization) != 1:
        return None
    scheme, _, encoded = authorization[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password[:MAX_PASSWORD]) if colon and b"\0" not in password else None
    except (binascii.Error, ValueError):
        return None

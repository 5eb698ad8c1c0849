import asyncio
import base64

import bcrypt
import pytest

from exporter.web.auth import MAX_WAITING, BusyError, PasswordChecker


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(name: str, password: str) -> list[str]:
    return ["Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()]


class Users:
    """Users, and the checker of their passwords."""

    def __init__(self, hashes: dict[str, str], checker: PasswordChecker | None = None) -> None:
        self.hashes = hashes
        self.checker = checker or PasswordChecker()

    async def admits(self, authorization: list[str]) -> bool:
        return await self.checker.admits(self.hashes, authorization)


@pytest.fixture
def users() -> Users:
    return Users({"prom": hashed("secret"), "jörg": hashed("pass:wört")})


@pytest.mark.parametrize(
    ("authorization", "admitted"),
    [
        (basic("prom", "secret"), True),
        ([basic("prom", "secret")[0].replace("Basic", "bASIC")], True),
        (basic("jörg", "pass:wört"), True),
        (basic("prom", "wrong"), False),
        (basic("prom", ""), False),
        (basic("prom", "secret\0"), False),
        (basic("prom", "pass:wört"), False),
        (basic("nobody", "secret"), False),
        (basic("", "secret"), False),
        ([], False),
        ([""], False),
        (["Basic"], False),
        (["Basic !"], False),
        (["Basic " + base64.b64encode(b"prom").decode()], False),
        (["Basic " + base64.b64encode(b"\xff:secret").decode()], False),
        (["Bearer secret"], False),
        (basic("prom", "secret") * 2, False),
    ],
)
async def test_who_is_admitted(users: Users, authorization: list[str], *, admitted: bool) -> None:
    """Only exactly one header with an existing name and its password is accepted, also the second time."""
    assert [await users.admits(authorization) for _ in range(2)] == [admitted, admitted]


async def test_a_long_password_counts_as_far_as_bcrypt_reads() -> None:
    """Only 72 bytes are hashed, as by other tools, whose hashes are accepted."""
    users = Users({"prom": hashed("x" * 72)})
    assert await users.admits(basic("prom", "x" * 5000))
    assert not await users.admits(basic("prom", "x" * 71))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every check that was made: the password and the hash, which contains the cost."""
    made: list[tuple[bytes, bytes]] = []
    real = bcrypt.checkpw

    def counted(password: bytes, known: bytes) -> bool:
        made.append((password, known))
        return real(password, known)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return made


async def test_a_right_password_is_checked_once(users: Users, checks: list[tuple[bytes, bytes]]) -> None:
    """A correct password is hashed only once; a wrong one each time, without forgetting the correct one."""
    for password in ("secret", "secret", "wrong", "wrong", "secret"):
        await users.admits(basic("prom", password))
    assert [password for password, _ in checks] == [b"secret", b"wrong", b"wrong"]


async def test_no_password_is_kept(users: Users) -> None:
    """Only a keyed hash of a correct password is remembered."""
    await users.admits(basic("prom", "secret"))
    checker = users.checker
    assert "secret" not in repr(vars(checker))
    assert checker._digest("prom", b"secret") != PasswordChecker()._digest("prom", b"secret")
    assert checker._digest("a", b"bc") != checker._digest("ab", b"c")


async def test_an_unknown_name_costs_what_a_wrong_password_costs(checks: list[tuple[bytes, bytes]]) -> None:
    """Timing does not reveal which names exist: one check of a user's hash is made in either case."""
    known = hashed("secret")
    users = Users({"prom": known})
    for name in ("prom", "nobody"):
        assert not await users.admits(basic(name, "wrong"))
    assert checks == [(b"wrong", known.encode())] * 2


async def test_a_flood_of_checks_is_bounded(users: Users) -> None:
    """Too many waiting checks are refused, and a known correct password does not wait."""
    assert await users.admits(basic("prom", "secret"))
    users.checker._waiting = MAX_WAITING
    with pytest.raises(BusyError):
        await users.admits(basic("prom", "wrong"))
    assert await users.admits(basic("prom", "secret"))


async def test_a_right_password_outlives_a_reload(users: Users, checks: list[tuple[bytes, bytes]]) -> None:
    """A known password is not checked again while its hash stays, but is if the hash changes."""
    for name, password in (("prom", "secret"), ("jörg", "pass:wört")):
        assert await users.admits(basic(name, password))
    checks.clear()
    again = Users({"prom": users.hashes["prom"], "jörg": hashed("other")}, users.checker)
    assert await again.admits(basic("prom", "secret"))
    assert checks == []
    assert not await again.admits(basic("jörg", "pass:wört"))
    assert len(checks) == 1
    gone = Users({"jörg": hashed("other")}, users.checker)
    assert not await gone.admits(basic("prom", "secret"))


async def test_an_unknown_name_with_a_known_password() -> None:
    """The hash that is checked for an unknown name admits nobody, not even with the right password for it."""
    one = Users({"prom": hashed("secret")})
    for _ in range(2):
        assert not await one.admits(basic("nobody", "secret"))
        assert await one.admits(basic("prom", "secret"))


async def test_no_thread_for_a_check(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the password cannot be checked now, which is not an internal error."""

    async def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    with pytest.raises(BusyError):
        await users.admits(basic("prom", "secret"))

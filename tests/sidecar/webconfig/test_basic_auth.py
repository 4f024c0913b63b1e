"""Passwords: right or wrong by bcrypt, remembered, checked one at a time, and in the same time for every user name."""

import asyncio
import threading

import bcrypt
import pytest

from pool_exporter.sidecar.webconfig import basic_auth
from pool_exporter.sidecar.webconfig.basic_auth import KNOWN_MAX, WAITING_MAX, BasicAuth, TooManyChecks

COST = 4


def hashed(password: bytes, cost: int = COST) -> bytes:
    """Return a hash of the least cost, so that the tests are fast."""
    return bcrypt.hashpw(password, bcrypt.gensalt(cost))


USERS = {"alice": hashed(b"right"), "bob": hashed(b"another")}


@pytest.fixture(name="compared")
def _compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note each real comparison, by the hash that is compared with."""
    noted: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, known: bytes) -> bool:
        noted.append(known)
        return real(password, known)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return noted


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("alice", b"right", True),
        ("alice", b"wrong", False),
        ("alice", b"another", False),
        ("alice", b"", False),
        ("Alice", b"right", False),
        ("unknown", b"right", False),
        ("unknown", b"fakepassword", False),
        ("", b"", False),
        ("alice", b"right\0", False),
        ("\u00e4", b"\xff\xfe", False),
    ],
)
@pytest.mark.asyncio
async def test_right_or_wrong(user: str, password: bytes, expected: bool) -> None:
    """The password of the user is right, and nothing else is; a second check has the same result."""
    known = BasicAuth()

    assert [expected, expected] == [await known.is_right(USERS, user, password) for _ in range(2)]


@pytest.mark.parametrize("prefix", [b"$2a$", b"$2b$", b"$2y$"])
@pytest.mark.asyncio
async def test_every_kind_of_hash(prefix: bytes) -> None:
    """Hashes are taken as the programs write them: htpasswd $2y$, Go $2a$, Python $2b$."""
    users = {"alice": prefix + hashed(b"right")[4:]}

    assert await BasicAuth().is_right(users, "alice", b"right")


@pytest.mark.asyncio
async def test_long_password() -> None:
    """Of a password only the first 72 bytes count, as in the hashes of htpasswd and Go."""
    users = {"alice": hashed(b"x" * 72)}

    assert [True, False] == [await BasicAuth().is_right(users, "alice", word) for word in (b"x" * 80, b"x" * 71)]


@pytest.mark.asyncio
async def test_known_password_is_not_compared_again(compared: list[bytes]) -> None:
    """What was found right or wrong is known: a scrape every second costs one comparison in all."""
    known = BasicAuth()
    for _ in range(5):
        await known.is_right(USERS, "alice", b"right")
        await known.is_right(USERS, "alice", b"wrong")

    assert [USERS["alice"]] * 2 == compared


@pytest.mark.asyncio
async def test_changed_password_is_compared_again() -> None:
    """With another hash, the old password is right no more."""
    known = BasicAuth()
    changed = {"alice": hashed(b"new")}
    found = [await known.is_right(users, "alice", b"right") for users in (USERS, changed, USERS)]

    assert [True, False, True] == found
    assert not await known.is_right({"bob": USERS["bob"]}, "alice", b"right")


@pytest.mark.parametrize("user", ["alice", "bob", "unknown"])
@pytest.mark.parametrize("cost", [4, 7])
@pytest.mark.asyncio
async def test_every_user_costs_the_same(compared: list[bytes], cost: int, user: str) -> None:
    """Whether the user exists and whatever its hash costs: a check takes the steps of the costliest hash."""
    users = {"alice": hashed(b"right", cost), "bob": hashed(b"another")}
    await BasicAuth().is_right(users, user, b"wrong")
    costs = [int(each.split(b"$")[2]) for each in compared]

    assert 2**cost == sum(2**each for each in costs)
    assert {60} == {len(each) for each in compared}


@pytest.mark.asyncio
async def test_unknown_user_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a password found that the unknown user's hash takes, it would still open nothing."""
    monkeypatch.setattr(basic_auth, "_DUMMY_HASH", hashed(b"found").replace(b"$04$", b"$%02d$"))

    assert not await BasicAuth().is_right(USERS, "unknown", b"found")


@pytest.mark.asyncio
async def test_same_question_at_once_is_compared_once(compared: list[bytes]) -> None:
    """Scrapers that ask the same before the answer is known wait for one comparison."""
    known = BasicAuth()
    answers = await asyncio.gather(*(known.is_right(USERS, "alice", b"right") for _ in range(10)))

    assert ([True] * 10, 1) == (answers, len(compared))


@pytest.mark.asyncio
async def test_one_at_a_time_and_not_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons run in one thread, one after the other, and the loop goes on meanwhile."""
    running: list[int] = []
    most: list[int] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, known: bytes) -> bool:
        running.append(threading.get_ident())
        most.append(len(running))
        is_right = real(password, known)
        running.pop()
        return is_right

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    known, users, rounds = BasicAuth(), {"alice": hashed(b"right", 8)}, 0
    checks = asyncio.gather(*(known.is_right(users, "alice", str(i).encode()) for i in range(3)))
    while not checks.done():
        await asyncio.wait([checks], timeout=0)
        rounds += 1
        assert threading.get_ident() not in running

    assert ([False] * 3, [1, 1, 1]) == (checks.result(), most)
    assert rounds > 10
    assert not known.is_busy


@pytest.mark.asyncio
async def test_checks_beyond_the_queue_are_refused() -> None:
    """So many checks may wait; another one is refused at once, and taken when there is room again."""
    known = BasicAuth()
    waiting = [asyncio.ensure_future(known.is_right(USERS, "alice", str(i).encode())) for i in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyChecks):
        await known.is_right(USERS, "alice", b"right")
    await asyncio.gather(*waiting)

    assert await known.is_right(USERS, "alice", b"right")


@pytest.mark.asyncio
async def test_guesses_do_not_push_out_what_is_right(compared: list[bytes]) -> None:
    """However many wrong passwords come, memory stays bounded, and the right one stays known."""
    known = BasicAuth()
    await known.is_right(USERS, "alice", b"right")
    for number in range(KNOWN_MAX + 20):
        await known.is_right(USERS, "alice", f"guess {number}".encode())
    del compared[:]

    assert await known.is_right(USERS, "alice", b"right")
    assert [] == compared

    await known.is_right(USERS, "alice", b"guess 0")

    assert [USERS["alice"]] == compared


@pytest.mark.asyncio
async def test_no_password_is_kept() -> None:
    """What is remembered is no password and no hash of one that could be tried elsewhere."""
    first, second = BasicAuth(), BasicAuth()
    for each in (first, second):
        await each.is_right(USERS, "alice", b"right")

    assert "right" not in repr(vars(first))
    assert set(first._known[True]).isdisjoint(second._known[True])


@pytest.mark.asyncio
async def test_known_password_does_not_wait() -> None:
    """A known password is accepted at once, also while another one is being compared."""
    users = {"alice": USERS["alice"], "carol": hashed(b"slow", 11)}
    known = BasicAuth()
    await known.is_right(users, "alice", b"right")
    comparing = asyncio.ensure_future(known.is_right(users, "carol", b"slow"))
    await asyncio.sleep(0)

    assert (True, False) == (await known.is_right(users, "alice", b"right"), comparing.done())
    assert await comparing

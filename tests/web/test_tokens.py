"""Access tokens: made once, kept as digests, with an end, and revoked."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import UsageError
from resqpy.web import tokens
from tests.web.asking import ApiClient, ask


async def test_redis_has_only_its_digest(api: ApiClient, redis: Redis) -> None:
    """Who reads Redis gets no access."""
    secret, made = await tokens.create(api.app.resque.store, "deploys", ["read", "tasks:*"])

    kept = await redis.hgetall("resque:resqpy:web:tokens")

    assert list(kept) == [made.digest.encode()]
    assert secret.encode() not in kept[made.digest.encode()]
    assert made.scopes == ("read", "tasks")


async def test_it_works_until_it_is_revoked(api: ApiClient, redis: Redis) -> None:
    """By its name or its id; its use is noted once in a while."""
    store = api.app.resque.store
    secret, made = await tokens.create(store, "deploys", ["read"])
    headers = {"authorization": f"Bearer {secret}"}

    first = await ask(api.app, "GET", "/api/v1/overview", headers=headers)
    used = (await tokens.every(store))[0].used_ms
    gone = await tokens.revoke(store, made.id)
    second = await ask(api.app, "GET", "/api/v1/overview", headers=headers)

    assert (first.status, second.status, [each.name for each in gone]) == (200, 401, ["deploys"])
    assert used is not None
    assert await redis.exists("resque:resqpy:web:tokens", "resque:resqpy:web:tokens:used") == 0


async def test_it_ends_by_itself(api: ApiClient) -> None:
    """What has expired gives no access, and leaves the list."""
    store = api.app.resque.store
    secret, _ = await tokens.create(store, "short", ["read"], for_ms=0)

    answer = await ask(
        api.app, "GET", "/api/v1/overview", headers={"authorization": f"Bearer {secret}"}
    )

    assert answer.status == 401
    assert await tokens.every(store) == []


@pytest.mark.parametrize(
    ("name", "scopes", "words"),
    [
        ("a b", ["read"], "letters"),
        ("a", [], "needs a scope"),
        ("a", ["raed"], "did you mean 'read'"),
        ("a", ["enqueue:"], "no scope"),
        ("a", ["tasks:creat:X"], "no scope"),
        ("a", ["enqueue:\ud800"], "no scope"),
        ("a", ["tasks:create:a\nb"], "no scope"),
        ("a\ud800", ["read"], "letters"),
    ],
)
async def test_what_it_can_t_be(api: ApiClient, name: str, scopes: list[str], words: str) -> None:
    """It says what is wrong."""
    with pytest.raises(UsageError, match=words):
        await tokens.create(api.app.resque.store, name, scopes)


async def test_two_have_not_one_name(api: ApiClient) -> None:
    """The name tells who did something."""
    await tokens.create(api.app.resque.store, "a", ["read"])

    with pytest.raises(UsageError, match="revoke it first"):
        await tokens.create(api.app.resque.store, "a", ["read"])


@pytest.mark.parametrize(
    ("scopes", "may", "may_not"),
    [
        (["read"], "read metrics", "operate admin enqueue tasks:read"),
        (["operate"], "read operate enqueue:X tasks:create:X tasks:cancel", "admin"),
        (["admin"], "read operate admin enqueue:X tasks:read", ""),
        (["enqueue:Mail"], "enqueue:Mail", "enqueue enqueue:Mailer read"),
        (["tasks:*"], "tasks:read tasks:create:X", "read enqueue:X"),
        (["tasks:create:Mail"], "tasks:create:Mail", "tasks:create:Other tasks:read"),
        (["enqueue:Mail"], "enqueue:Mail", "enqueue:Mail::DeleteAll enqueue:Mail:x"),
        (
            ["tasks:create:Mail"],
            "tasks:create:Mail",
            "tasks:create:Mail:Other tasks:create:Mail::A",
        ),
        (
            ["enqueue:A::B", "tasks:create:A:B"],
            "enqueue:A::B tasks:create:A:B",
            "enqueue:A tasks:create:A",
        ),
        (["enqueue", "tasks:create"], "enqueue:A::B tasks:create:A:B", "tasks:read"),
    ],
)
def test_what_each_scope_includes(scopes: list[str], may: str, may_not: str) -> None:
    """A token may do what its scopes say, and nothing else."""
    access = tokens.access_of(tokens.AccessToken("0", "a", tokens.check_scopes(scopes), 0))

    assert [each for each in may.split() if not access.allows(each)] == []
    assert [each for each in may_not.split() if access.allows(each)] == []


async def test_what_somebody_else_wrote_gives_no_access(api: ApiClient, redis: Redis) -> None:
    """Nor does it break the list."""
    secret = "rsq_mine"
    import hashlib

    digest = hashlib.sha256(secret.encode()).hexdigest()
    for junk in ("x", "[]", '{"name":1,"scopes":[]}', '{"name":"a","scopes":"admin"}'):
        await redis.hset("resque:resqpy:web:tokens", digest, junk)
        answer = await ask(
            api.app, "GET", "/api/v1/overview", headers={"authorization": f"Bearer {secret}"}
        )
        assert answer.status == 401
        assert await tokens.every(api.app.resque.store) == []


@pytest.mark.parametrize("name", ["Почта", "Mail\r\nX-Other: 1", 'Mail"'])
async def test_the_name_of_a_task_is_in_no_header(api: ApiClient, name: str) -> None:
    """It may be any text; the header has the form of the scope."""
    job = await api("POST /jobs", {"task": name, "queue": "q"}, scopes=["enqueue:Mail"])
    task = await api("POST /tasks", {"type": name}, scopes=["tasks:create:Mail"])

    assert [job.status, task.status] == [403, 403]
    assert job.headers["www-authenticate"].endswith('scope="enqueue:{task}"')
    assert task.headers["www-authenticate"].endswith('scope="tasks:create:{type}"')
    assert name in job.json["detail"]
    assert name in task.json["detail"]

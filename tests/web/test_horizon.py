"""`/tasks/v1`: Extra Horizon's shape, its queries, its errors."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.rql import TaskPlan, parse, plan
from tests.web.asking import ApiClient, Reply

SCOPES = ["tasks:*"]
HOUR = 3_600_000


@pytest.fixture
def tasks(api: ApiClient) -> ApiClient:
    """The API below /tasks/v1."""
    api.base = "/tasks/v1"
    return api


async def new(tasks: ApiClient, **more: Any) -> Any:
    """Create a task."""
    body = {"functionName": "Mail", "data": {"myKey": "My Value"}, **more}
    answer = await tasks("POST /", body, scopes=SCOPES)
    assert answer.status == 200, answer.content
    return answer.json


async def find(tasks: ApiClient, query: str) -> Any:
    """Find tasks by a query."""
    answer = await tasks(f"GET /?{query}", scopes=SCOPES)
    assert answer.status == 200, answer.content
    return answer.json


async def test_a_task_has_the_fields_of_the_service(tasks: ApiClient) -> None:
    """Camel case; the data as it was given; times with milliseconds."""
    made = await new(tasks, tags=["my_tag"], priority=1, startTimestamp="2999-01-01T00:00:00.000Z")

    found = (await find(tasks, f"eq(id,{made['id']})"))["data"]

    assert found == [made]
    times = ("statusChangedTimestamp", "creationTimestamp", "updateTimestamp", "startTimestamp")
    assert [len(made[name]) for name in times] == [24] * 4
    rest = {name: value for name, value in made.items() if name not in (*times, "id")}
    assert rest == {
        "functionName": "Mail",
        "status": "new",
        "data": {"myKey": "My Value"},
        "tags": ["my_tag"],
        "priority": 1,
        "createdByApplicationId": rest["createdByApplicationId"],
    }


async def test_it_is_cancelled_once(tasks: ApiClient) -> None:
    """With the SDK's numbers for what can't be done."""
    made = await new(tasks)

    first = await tasks(f"POST /{made['id']}/cancel", {}, scopes=SCOPES)
    second = await tasks(f"POST /{made['id']}/cancel", {}, scopes=SCOPES)
    unknown = await tasks("POST /none/cancel", {}, scopes=SCOPES)

    assert first.json == {"affectedRecords": 1}
    assert (second.status, second.json["code"]) == (409, 27)
    assert (unknown.status, unknown.json["code"]) == (404, 16)
    assert second.json["type"] == "urn:resqpy:problem:wrong-state"
    assert (await find(tasks, "eq(status,canceled)"))["page"]["total"] == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "abcd"),
        ("eq(status,new)", "abcd"),
        ("in(status,new,failed)&sort(-creationTimestamp)", "dcba"),
        ("eq(status,failed)", ""),
        ("eq(functionName,Other)", "d"),
        ("in(functionName,Mail,Other)", "abcd"),
        ("in(functionName,Mail,Other)&limit(2,1)", "bc"),
        ("or(eq(functionName,Other),eq(functionName,None))", "d"),
        ("eq(tags,x)", "bcd"),
        ("eq(tags,x)&eq(tags,y)", "c"),
        ("in(tags,y,z)&sort(creationTimestamp)", "cd"),
        ("and(eq(tags,x),eq(status,new))", "bcd"),
        ("eq(tags,a%252Cb)", "a"),
        ("eq(tags,string:x)", "bcd"),
        ("sort(-updateTimestamp)&limit(1)", "d"),
        ("limit(2,3)", "d"),
        ("limit(2,4)", ""),
        ("eq(status,new)&eq(status,failed)", ""),
        ("gt(creationTimestamp,2999-01-01T00:00:00.000Z)", ""),
        ("lt(creationTimestamp,2999-01-01T00:00:00.000Z)&sort(-creationTimestamp)", "dcba"),
        ("eq(id,none)", ""),
    ],
)
async def test_what_a_query_finds(tasks: ApiClient, query: str, names: str) -> None:
    """By the indexes that there are."""
    await new(tasks, data={"name": "a"}, tags=["a,b"])
    await new(tasks, data={"name": "b"}, tags=["x"])
    await new(tasks, data={"name": "c"}, tags=["x", "y"])
    await new(tasks, data={"name": "d"}, tags=["x", "z"], functionName="Other")

    found = await find(tasks, query)

    assert "".join(each["data"]["name"] for each in found["data"]) == names
    if "limit" not in query:
        assert found["page"]["total"] == len(names)


async def test_all_pages_are_reached_by_the_total(tasks: ApiClient) -> None:
    """As the SDK's `findAll` walks; without a count there is no total."""
    for number in range(7):
        await new(tasks, data={"number": number}, tags=["x", "odd" if number % 2 else "even"])

    for query, count in (("eq(tags,x)", 7), ("eq(tags,x)&eq(tags,odd)", 3)):
        found, offset = list[int](), 0
        while True:
            page = await find(tasks, f"{query}&limit(2,{offset})")
            found += [each["data"]["number"] for each in page["data"]]
            assert page["page"] == {"total": count, "offset": offset, "limit": 2}
            offset += 2
            if offset >= page["page"]["total"]:
                break
        assert len(found) == len({*found}) == count
    assert "total" not in (await find(tasks, "skipCount()"))["page"]


async def test_only_the_fields_that_are_asked_for(tasks: ApiClient) -> None:
    """And the id."""
    made = await new(tasks)

    found = await find(tasks, "select(status,functionName)")

    assert found["data"] == [{"id": made["id"], "status": "new", "functionName": "Mail"}]


@pytest.mark.parametrize(
    ("query", "near"),
    [
        ("ne(status,new)", None),
        ("like(functionName,M)", None),
        ("contains(tags)", None),
        ("out(status,new)", None),
        ("eq(data.myKey,1)", None),
        ("eq(functionname,Mail)", "functionName"),
        ("eq(status,mew)", "new"),
        ("sort(priority)", None),
        ("sort(creationTimestmp)", "creationTimestamp"),
        ("or(eq(status,new),eq(tags,x))", None),
        ("gt(creationTimestamp,1)", None),
        ("gt(creationTimestamp,2999-01-01T00:00:00Z)&sort(updateTimestamp)", None),
        ("limit(0)", None),
        ("limit(501)", None),
        ("limit(1,10001)", None),
        ("eq(status", None),
        ("eq(status,new))", None),
        ("new", None),
        ("eq(" * 30, None),
        ("eq(tags,a%2Cb)", None),  # a comma that is encoded once is a comma
        ("eqq(status,new)", "eq"),
        ("in(functionName," + ",".join("abcdefghijklmnopqrstuvw") + ")", None),
    ],
)
async def test_what_can_t_be_answered_is_named(
    tasks: ApiClient, query: str, near: str | None
) -> None:
    """By the number and name that the SDK knows; nothing is ignored."""
    answer = await tasks(f"GET /?{query}", scopes=SCOPES)

    assert (answer.status, answer.json["code"]) == (400, 19)
    assert (answer.json["name"], answer.json.get("near")) == ("INVALID_RQL_EXCEPTION", near)


def planned(query: str) -> TaskPlan:
    """What a query asks for."""
    return plan(parse(query))


def test_times_are_half_open() -> None:
    """`gt` and `le` count to the millisecond."""
    at, ms = "2030-01-01T00:00:00.000Z", 1_893_456_000_000

    assert planned(f"ge(creationTimestamp,{at})").times == {"created": (ms, None)}
    assert planned(f"gt(creationTimestamp,{at})").times == {"created": (ms + 1, None)}
    assert planned(f"lt(updateTimestamp,{at})").times == {"modified": (None, ms)}
    assert planned(f"ge(updateTimestamp,{at})&le(updateTimestamp,{at})").times == {
        "modified": (ms, ms + 1)
    }
    assert planned(f"lt(updateTimestamp,{at})").sort == "modified"


def test_an_empty_set_matches_nothing() -> None:
    """Two values of one field exclude each other."""
    assert planned("eq(functionName,a)&eq(functionName,b)").alternatives() == []
    with pytest.raises(ApiProblem):
        planned("eq(functionName)")


async def test_the_scopes_of_a_token_hold_here_too(tasks: ApiClient) -> None:
    """One that creates tasks of one type, and no other."""
    scopes = ["tasks:create:Mail"]

    made = await tasks("POST /", {"functionName": "Mail"}, scopes=scopes)
    other = await tasks("POST /", {"functionName": "Other"}, scopes=scopes)
    read = await tasks("GET /", scopes=scopes)

    assert (made.status, other.status, read.status) == (200, 403, 403)
    assert other.json["code"] == 10


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, 22),
        ({"functionName": "Mail", "data": 1}, 400, 22),
        ({"functionName": "Mail", "priority": 99}, 422, 26),
        ({"functionName": "Mail", "startTimestamp": "soon"}, 400, 22),
        ({"functionName": "Mail", "startTimestamp": None, "tags": None}, 200, None),
    ],
)
async def test_what_is_wrong_with_a_new_task(
    tasks: ApiClient, body: Any, status: int, code: int | None
) -> None:
    """Is told by number too."""
    answer = await tasks("POST /", body, scopes=SCOPES)

    assert (answer.status, answer.json.get("code")) == (status, code)


async def sign_in(api: ApiClient, token: str) -> Reply:
    """As the SDK does."""
    api.base = "/auth/v2"
    body = {"grant_type": "refresh_token", "refresh_token": token}
    return await api(
        "POST /oauth2/tokens", body, scopes=(), headers={"authorization": "Basic eDp5"}
    )


async def test_a_token_is_traded_for_itself(api: ApiClient) -> None:
    """The SDK signs in by it; a wrong one is refused."""
    token = await api.token(*SCOPES)

    right, wrong = await sign_in(api, token), await sign_in(api, "rsq_x")

    assert (right.status, right.json["access_token"], right.json["user_id"]) == (200, token, "t0")
    assert (wrong.status, wrong.json["code"]) == (401, 117)


async def test_functions_are_the_tasks_that_workers_have_loaded(tasks: ApiClient) -> None:
    """By name."""
    store = tasks.app.resque.store
    await store.call("ZADD", store.keys.processes, await store.time_us() // 10**6, "me")
    await store.call("HSET", store.keys.known_tasks, "me", '["Mail abc","Other"]')

    found = await tasks("GET /functions", scopes=SCOPES)
    one = await tasks("GET /functions/Mail", scopes=SCOPES)
    none = await tasks("GET /functions/Mial", scopes=SCOPES)

    assert [each["name"] for each in found.json["data"]] == ["Mail", "Other"]
    assert (one.json["name"], none.status, none.json["near"]) == ("Mail", 404, "Mail")

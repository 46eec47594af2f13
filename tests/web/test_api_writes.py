"""What `/api/v1` changes: exactly what is asked for, once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import task
from resqpy.base import codec
from resqpy.framework.project.registry import registry_of
from resqpy.web.app import Console
from tests.web.asking import ApiClient, Reply
from tests.web.conftest import Browser, MakeConsole
from tests.web.test_api_reads import failed, fill, is_problem, job
from tests.web.test_pages import audit, forms

MAIL = {"task": "Mail", "queue": "mail", "inputs": {"to": "a@b"}}


async def waiting(redis: Redis, queue: str = "mail") -> list[Any]:
    """The jobs of a queue."""
    return [json.loads(raw) for raw in await redis.lrange(f"resque:queue:{queue}", 0, -1)]


async def test_a_job_is_enqueued(api: ApiClient, redis: Redis) -> None:
    """As all Resque workers read it."""
    answer = await api("POST /jobs", MAIL)

    assert (answer.status, answer.json["enqueued"]) == (201, True)
    assert await waiting(redis) == [{"class": "Mail", "queue": "mail", "args": [{"to": "a@b"}]}]
    assert await redis.smembers("resque:queues") == {b"mail"}


async def test_many_at_once_and_later(api: ApiClient, redis: Redis) -> None:
    """Those that are due now, and those that are not."""
    jobs = [
        MAIL,
        {**MAIL, "delay_ms": 3_600_000},
        {"task": "Ruby", "queue": "other", "args": [1, "two"]},
        {**MAIL, "at": "2001-01-01T00:00:00Z", "inputs": {"to": "late"}},
    ]

    answer = await api("POST /jobs", jobs)

    assert (answer.status, answer.json["enqueued"]) == (201, 4)
    assert [each["args"][0]["to"] for each in await waiting(redis)] == ["a@b", "late"]
    assert (await waiting(redis, "other"))[0]["args"] == [1, "two"]
    assert await redis.zcard("resque:delayed_queue_schedule") == 1


@pytest.mark.parametrize(
    ("wrong", "status", "kind"),
    [
        ({"task": "Mail"}, 422, "wrong-value"),  # no queue, and no project
        ({**MAIL, "queue": "a,b"}, 422, "wrong-value"),
        ({**MAIL, "args": []}, 422, "wrong-value"),
        ({**MAIL, "inputs": []}, 400, "wrong-request"),
        ({**MAIL, "quue": "x"}, 400, "wrong-request"),
        ({**MAIL, "at": "soon"}, 400, "wrong-request"),
        ({**MAIL, "at": "2030-01-01T00:00:00"}, 400, "wrong-request"),
        ({**MAIL, "at": "2030-01-01T00:00:00Z", "delay_ms": 1}, 422, "wrong-value"),
        ({**MAIL, "inputs": {"_task_id": "x"}}, 422, "wrong-value"),
        (b'{"task":"Mail","queue":"mail","inputs":{"n":NaN}}', 400, "wrong-request"),
        (b'{"task":"Mail","queue":"mail","inputs":{"n":"\\ud800"}}', 400, "wrong-request"),
        (b"[" * 100_000, 400, "wrong-request"),
        (b"\xff", 400, "wrong-request"),
        ([], 400, "wrong-request"),
    ],
)
async def test_if_one_is_wrong_nothing_is_enqueued(
    api: ApiClient, redis: Redis, wrong: Any, status: int, kind: str
) -> None:
    """Alone, or among others."""
    json_type = {"content-type": "application/json"}
    answer = await api("POST /jobs", wrong, headers=json_type)
    among = await api(
        "POST /jobs", [MAIL, wrong] if isinstance(wrong, dict) else wrong, headers=json_type
    )

    assert (answer.status, among.status) == (status, status)
    assert is_problem(answer, kind)
    assert await redis.keys("resque:queue*") == []


async def test_a_misspelled_name_is_pointed_at(api: ApiClient) -> None:
    """By a JSON pointer, with the name that was meant."""
    answer = await api("POST /jobs", [MAIL, {**MAIL, "quue": "x"}])

    assert answer.json["errors"][0]["pointer"] == "/1/quue"
    assert answer.json["near"] == "queue"


async def test_the_body_is_json_of_a_size(api: ApiClient) -> None:
    """Nothing else is read."""
    form = {"content-type": "application/x-www-form-urlencoded"}

    large = await api("POST /jobs", {**MAIL, "inputs": {"x": "x" * 1024 * 1024}})

    assert (await api("POST /jobs", b"task=Mail", headers=form)).status == 415
    assert large.status == 413
    assert is_problem(large, "too-large")


async def test_a_token_enqueues_what_its_scope_names(api: ApiClient, redis: Redis) -> None:
    """And nothing else."""
    one = await api("POST /jobs", MAIL, scopes=["enqueue:Mail"])
    other = await api("POST /jobs", [MAIL, {**MAIL, "task": "Other"}], scopes=["enqueue:Mail"])
    reader = await api("POST /jobs", MAIL, scopes=["read"])

    assert (one.status, other.status, reader.status) == (201, 403, 403)
    assert len(await waiting(redis)) == 1


async def test_a_hundred_equal_requests_make_one_job(api: ApiClient, redis: Redis) -> None:
    """With one key: the others get the same answer, or are told to ask again."""
    key = {"Idempotency-Key": "order-17"}
    await api.token("operate")

    answers = await asyncio.gather(*(api("POST /jobs", MAIL, headers=key) for _ in range(100)))
    again = await api("POST /jobs", MAIL, headers=key)

    assert {each.status for each in answers} <= {201, 409}
    assert (
        sum("idempotency-replayed" not in each.headers and each.status == 201 for each in answers)
        == 1
    )
    assert len(await waiting(redis)) == 1
    assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json["enqueued"] is True


async def test_a_key_belongs_to_one_request(api: ApiClient, redis: Redis) -> None:
    """Of one token; and what failed may be repeated under it."""
    key = {"Idempotency-Key": '"k"'}
    wrong = await api("POST /jobs", {**MAIL, "queue": ""}, headers=key)
    first = await api("POST /jobs", MAIL, headers=key)
    other = await api("POST /jobs", {**MAIL, "task": "Other"}, headers=key)
    another = await api("POST /jobs", MAIL, headers=key, scopes=["enqueue"])

    assert (wrong.status, first.status, other.status, another.status) == (400, 201, 422, 201)
    assert is_problem(other, "other-request")
    assert len(await waiting(redis)) == 2


async def test_an_answer_that_was_lost_makes_no_second_job(api: ApiClient, redis: Redis) -> None:
    """The note of the request is gone, as if the process had died in between: the job knows its call."""
    key = {"Idempotency-Key": "k"}
    await api("POST /jobs", MAIL, headers=key)
    task = await api("POST /tasks", {"type": "T"}, headers=key)
    for name in await redis.keys("resque:resqpy:web:request:*"):
        await redis.delete(name)

    again = await api("POST /jobs", MAIL, headers=key)
    same = await api("POST /tasks", {"type": "T"}, headers=key)

    assert (again.status, again.json["refused"]) == (200, "once")
    assert len(await waiting(redis)) == 1
    assert (same.status, same.json["id"]) == (201, task.json["id"])


async def test_a_queue_rests_and_goes_on(api: ApiClient, redis: Redis) -> None:
    """For a time, for a reason, by the name of the token."""
    paused = await api("POST /queues/mail/pause", {"reason": "deploy", "duration_ms": 60_000})
    again = await api("POST /queues/mail/pause")
    note = json.loads(await redis.get("resque:pause:queue:mail") or b"")
    resumed = await api("POST /queues/mail/resume")

    assert (paused.json, again.json, resumed.json) == (
        {"changed": True},
        {"changed": False},
        {"changed": True},
    )
    assert note["by"].startswith("t")
    assert await redis.exists("resque:pause:queue:mail") == 0


async def test_a_queue_is_deleted_by_admins(api: ApiClient, redis: Redis) -> None:
    """With its jobs."""
    await fill(redis)

    forbidden = await api("DELETE /queues/mail")
    done = await api("DELETE /queues/mail", scopes=["admin"])

    assert (forbidden.status, done.status, done.json) == (403, 200, {"removed": 7})
    assert await redis.exists("resque:queue:mail") == 0


async def test_exactly_one_waiting_job_is_removed(api: ApiClient, redis: Redis) -> None:
    """Where the list has moved too."""
    await fill(redis)
    shown = (
        await api(
            "GET /queues/mail/jobs?size=1&cursor="
            + (await api("GET /queues/mail/jobs?size=3")).json["next"]
        )
    ).json["data"][0]
    await redis.lpop("resque:queue:mail", 2)

    done = await api(f"DELETE /queues/mail/jobs/{shown['id']}?at={shown['at']}")
    again = await api(f"DELETE /queues/mail/jobs/{shown['id']}?at={shown['at']}")

    assert (done.status, again.status) == (200, 404)
    assert [each["args"][0]["number"] for each in await waiting(redis)] == [2, 4, 5, 6]


async def test_a_failed_job_is_retried_while_the_list_moves(api: ApiClient, redis: Redis) -> None:
    """Exactly that one, with its bytes."""
    await fill(redis)
    page = (await api("GET /failed?size=5")).json
    entry = page["data"][2]
    await redis.lpop("resque:failed", 4)
    await redis.rpush("resque:failed", *map(failed, range(100, 140)))

    done = await api(f"POST /failed/{entry['id']}/retry?at={entry['at']}", {"queue": "again"})
    twice = await api(f"POST /failed/{entry['id']}/retry?at={entry['at']}")

    assert (done.status, twice.status) == (200, 404)
    [raw] = await redis.lrange("resque:queue:again", 0, -1)
    assert json.loads(raw)["args"] == json.loads(job(entry["args"][0]["number"]))["args"]
    assert await redis.llen("resque:failed") == 12 - 4 + 40 - 1


async def test_a_failed_job_is_removed(api: ApiClient, redis: Redis) -> None:
    """By its id."""
    await fill(redis)
    digest = codec.digest(failed(3).encode())

    done, again = await api(f"DELETE /failed/{digest}"), await api(f"DELETE /failed/{digest}")

    assert (done.status, again.status) == (200, 404)
    assert failed(3).encode() not in await redis.lrange("resque:failed", 0, -1)


async def test_delayed_jobs_run_now_or_never(api: ApiClient, redis: Redis) -> None:
    """By second and id."""
    await fill(redis)
    one, two = (codec.digest(job(number).encode()) for number in (1, 2))

    run = await api(f"POST /delayed/1900000000/{one}/run")
    removed = await api(f"DELETE /delayed/1900000000/{two}")
    gone = await api(f"DELETE /delayed/1900000000/{two}")

    assert (run.status, removed.status, gone.status) == (200, 200, 404)
    assert (await waiting(redis))[-1]["args"][0]["number"] == 1
    assert await redis.exists("resque:delayed:1900000000") == 0


async def test_schedules_rest_and_run(api: ApiClient, redis: Redis) -> None:
    """Ruby's too."""
    config = {"cron": "0 0 * * *", "class": "Nightly", "queue": "nights", "args": [1]}
    await redis.hset("resque:persistent_schedules", "nightly", json.dumps(config))

    run = await api("POST /schedules/nightly/run")
    paused = await api("POST /schedules/nightly/pause")
    shown = (await api("GET /schedules")).json["data"]
    resumed = await api("POST /schedules/nightly/resume")
    wrong = await api("POST /schedules/nihgtly/run")

    assert (run.json, paused.json, resumed.json) == tuple([{"changed": True}] * 3)
    assert shown[0]["state"] == "paused"
    assert (await waiting(redis, "nights"))[0]["args"] == [1]
    assert (wrong.status, "did you mean 'nightly'" in wrong.json["detail"]) == (404, True)


# -- tracked tasks --


async def test_a_tracked_task_from_its_creation_to_its_end(api: ApiClient) -> None:
    """Created, found, changed, cancelled; the token says which application it was."""
    scopes = ["tasks:*"]
    body = {"type": "Mail", "payload": {"to": "a", "cc": "b"}, "tags": ["x"], "delay_ms": 3_600_000}

    made = await api("POST /tasks", body, scopes=scopes)
    path = f"/tasks/{made.json['id']}"
    found = await api("GET /tasks?tags=x&status=scheduled,pending", scopes=scopes)
    changed = await api(f"PATCH {path}", {"payload": {"cc": None, "n": 1}}, scopes=scopes)
    cancelled = await api(f"POST {path}/cancel", scopes=scopes)
    twice = await api(f"POST {path}/cancel", scopes=scopes)

    assert (made.status, made.json["status"], made.headers["etag"]) == (201, "scheduled", '"1"')
    assert made.json["created_by_application"].startswith("t")
    assert [each["id"] for each in found.json["data"]] == [made.json["id"]]
    assert changed.json["payload"] == {"to": "a", "n": 1}
    assert cancelled.json["status"] == "cancelled"
    assert (twice.status, is_problem(twice, "wrong-state")) == (409, True)


async def test_a_task_is_changed_as_it_was_read(api: ApiClient) -> None:
    """Or not, if somebody was faster."""
    made = await api("POST /tasks", {"type": "Mail", "payload": {"n": 1}})
    path = f"/tasks/{made.json['id']}"

    first = await api(f"PATCH {path}", {"payload": {"n": 2}}, headers={"If-Match": '"1"'})
    second = await api(f"PATCH {path}", {"payload": {"n": 3}}, headers={"If-Match": '"1"'})

    assert (first.status, first.json["payload"], first.headers["etag"]) == (200, {"n": 2}, '"2"')
    assert (second.status, is_problem(second, "changed")) == (412, True)


async def test_a_viewer_sees_no_inputs_of_tasks(api: ApiClient) -> None:
    """Nor results."""
    body = {"type": "Mail", "payload": {"to": "canary", "password": "hunter2"}}
    made = await api("POST /tasks", body)

    viewer = await api(f"GET /tasks/{made.json['id']}", scopes=["read"])
    owner = await api(f"GET /tasks/{made.json['id']}", scopes=["tasks:read"])

    assert viewer.json["payload"] == "[FILTERED]"
    assert owner.json["payload"] == {"to": "canary", "password": "[FILTERED]"}


async def test_disabled_enabled_run_removed(api: ApiClient) -> None:
    """Each verb has a path."""
    made = await api("POST /tasks", {"type": "Mail", "start": "2999-01-01T00:00:00Z"})
    path = f"/tasks/{made.json['id']}"

    told = [
        (await api(f"POST {path}/{verb}")).json["status"] for verb in ("disable", "enable", "run")
    ]
    removed, gone = await api(f"DELETE {path}"), await api(f"GET {path}")

    assert told == ["disabled", "scheduled", "pending"]
    assert (removed.json, gone.status) == ({"removed": 1}, 404)


@pytest.mark.parametrize(
    ("request_", "body", "status"),
    [
        ("GET /tasks?statuss=new", None, 400),
        ("GET /tasks?status=new", None, 400),
        ("GET /tasks?created_from=x", None, 400),
        ("GET /tasks?created_from=2001-01-01T00:00:00Z&sort=completed", None, 200),
        ("GET /tasks/none", None, 404),
        ("POST /tasks", {"type": "Mail", "id": "a b"}, 422),
        ("POST /tasks", {"type": "Mail", "interval": "nonsense"}, 422),
        ("POST /tasks", {"type": "Mail", "payload": {"_task_id": 1}}, 422),
        ("POST /tasks", {"payload": {}}, 400),
        ("POST /tasks/none/cancel", None, 404),
    ],
)
async def test_what_is_wrong_with_tasks(
    api: ApiClient, request_: str, body: Any, status: int
) -> None:
    """Is answered as a problem."""
    answer = await api(request_, body)

    assert answer.status == status
    assert status == 200 or answer.headers["content-type"] == "application/problem+json"


async def test_nothing_is_changed_by_a_read_only_console(api: ApiClient, redis: Redis) -> None:
    """Nor is the use of a token noted."""
    from dataclasses import replace

    api.app.options = replace(api.app.options, read_only=True)
    await api.token("operate")
    before = {key: await redis.dump(key) for key in await redis.keys("*")}

    read, write = await api("GET /overview"), await api("POST /jobs", MAIL)

    assert (read.status, write.status) == (200, 403)
    assert before == {key: await redis.dump(key) for key in await redis.keys("*")}


async def test_every_change_is_audited(api: ApiClient, redis: Redis) -> None:
    """Who, what, how many; only admins read it; secrets are hidden."""
    await fill(redis)
    digest = codec.digest(failed(3).encode())
    made = await api("POST /tasks", {"type": "Mail", "delay_ms": 3_600_000})
    await api("POST /queues/mail/pause", {"reason": "see https://ann:hunter2@host"})
    await api(f"DELETE /failed/{digest}")
    await api(f"POST /tasks/{made.json['id']}/run")
    await api(f"PATCH /tasks/{made.json['id']}", {"payload": {"n": 1}})

    forbidden = await api("GET /audit")
    first = await api("GET /audit?size=3", scopes=["admin"])
    second = await api(f"GET /audit?size=3&cursor={first.json['next']}", scopes=["admin"])

    told = first.json["data"] + second.json["data"]
    assert forbidden.status == 403
    assert [(each["verb"], each["what"]) for each in told] == [
        ("change", f"task {made.json['id']}"),
        ("retry", f"task {made.json['id']}"),
        ("remove", f"failed job {digest[:10]}"),
        ("pause", "queue mail"),
    ]
    assert {(each["who"], each["role"], each["by"]) for each in told} == {
        ("t0", "operator", "token")
    }
    removed = told[2]["more"]
    assert (removed["count"], removed["task"], len(removed["undo"])) == (1, "Mail", 22)
    assert b"hunter2" not in second.content
    assert second.json["next"] is None


async def test_what_was_removed_can_be_put_back(
    api: ApiClient, admin: Browser, redis: Redis
) -> None:
    """On the page of the audit, which has no button for anything else."""
    await redis.rpush("resque:failed", failed(3))
    await api("POST /queues/mail/pause")
    await api(f"DELETE /failed/{codec.digest(failed(3).encode())}")

    [(undo, _)] = forms((await admin.get("/audit")).text, "")[1:]  # the first one signs out
    await admin.post(undo, data={})

    assert await redis.lrange("resque:failed", 0, -1) == [failed(3).encode()]


async def test_what_was_refused_is_not_audited(api: ApiClient, redis: Redis) -> None:
    """Nothing was changed."""
    await api("POST /queues/mail/pause", {"duration_ms": 0})
    await api(f"DELETE /failed/{'0' * 40}")
    await api("POST /tasks/none/cancel")
    await api("POST /schedules/none/run")

    assert await redis.exists("resque:resqpy:audit") == 0


async def test_what_programs_enqueue_and_create_is_not_audited(
    api: ApiClient, redis: Redis
) -> None:
    """There is too much of it: what people did would be pushed out."""
    await api("POST /jobs", [MAIL, MAIL], scopes=["enqueue:Mail"])
    await api("POST /tasks", {"type": "Mail"}, scopes=["tasks:create"])

    assert await redis.exists("resque:resqpy:audit") == 0


async def test_pages_and_the_api_note_in_the_same_words(
    api: ApiClient, admin: Browser, redis: Redis
) -> None:
    """Whoever reads the audit finds both."""
    schedule = json.dumps({"cron": "0 0 * * *", "class": "Nightly", "queue": "nights"})
    await redis.hset("resque:persistent_schedules", "nightly", schedule)
    job_id, entry_id = codec.digest(job(1).encode()), codec.digest(failed(1).encode())
    for by_page, by_api in (
        ("/queues/mail/pause", "POST /queues/mail/pause"),
        ("/queues/mail/resume", "POST /queues/mail/resume"),
        (f"/queues/mail/jobs/{job_id}/remove", f"DELETE /queues/mail/jobs/{job_id}"),
        (f"/failed/entries/{entry_id}/retry", f"POST /failed/{entry_id}/retry"),
        (f"/failed/entries/{entry_id}/remove", f"DELETE /failed/{entry_id}"),
        (f"/delayed/1900000000/{job_id}/run", f"POST /delayed/1900000000/{job_id}/run"),
        (f"/delayed/1900000000/{job_id}/remove", f"DELETE /delayed/1900000000/{job_id}"),
        ("/schedules/nightly/run", "POST /schedules/nightly/run"),
        ("/schedules/nightly/pause", "POST /schedules/nightly/pause"),
        ("/queues/mail/delete", "DELETE /queues/mail"),
    ):
        told = []
        for act in (
            lambda path=by_page: admin.post(path, data={"expected": "1", "typed": "1"}),
            lambda line=by_api: api(line, scopes=["admin"]),
        ):
            await redis.delete("resque:queue:mail", "resque:failed", "resque:delayed:1900000000")
            await redis.delete("resque:pause:queue:mail", "resque:resqpy:ruby:paused")
            if "resume" in by_page:
                await redis.set("resque:pause:queue:mail", "{}")
            await redis.sadd("resque:queues", "mail")
            await redis.rpush("resque:queue:mail", job(1))
            await redis.rpush("resque:failed", failed(1))
            await redis.zadd("resque:delayed_queue_schedule", {"1900000000": 1900000000})
            await redis.rpush("resque:delayed:1900000000", job(1))
            await act()
            note = (await audit(redis))[-1]
            more = json.loads(note["more"])
            told.append((note["verb"], note["what"], sorted(more), more.get("outcome")))
        assert told[0] == told[1], by_page
    assert await redis.xlen("resque:resqpy:audit") == 20


async def test_an_empty_queue_that_was_deleted_is_noted_as_gone(
    api: ApiClient, redis: Redis
) -> None:
    """There was nothing in it, but it was there."""
    await redis.sadd("resque:queues", "empty")
    assert (await api("DELETE /queues/empty", scopes=["admin"])).json == {"removed": 0}
    [note] = await audit(redis)
    assert (note["verb"], json.loads(note["more"])) == ("delete", {})


async def test_a_note_is_cut(api: ApiClient, redis: Redis) -> None:
    """However long what it names is."""
    await api(f"POST /queues/{'q' * 500}/pause", {"reason": "r" * 500})
    [note] = await audit(redis)
    assert len(note["what"]) <= 500
    assert len(note["more"]) <= 600


async def test_jobs_of_tracked_tasks_are_left_to_them(
    api: ApiClient, admin: Browser, redis: Redis
) -> None:
    """Neither run nor removed alone; the page leads to the task."""
    made = (await api("POST /tasks", {"type": "Mail", "delay_ms": 3_600_000})).json
    times: list[Any] = await redis.zrange("resque:delayed_queue_schedule", 0, -1)
    second = int(times[0])
    delayed: list[Any] = await redis.lrange(f"resque:delayed:{second}", 0, -1)
    [raw] = delayed
    path = f"/delayed/{second}/{codec.digest(raw)}"

    page = (await admin.get("/delayed")).text
    assert forms(page, "/run") == forms(page, "/remove") == []
    assert f'href="/tasks/{made["id"]}"' in page
    for verb in ("run", "remove"):
        answer = await admin.post(f"{path}/{verb}", data={"at": "0"})
        assert (answer.status_code, "Its task has a record" in answer.text) == (409, True)
    for line in (f"POST {path}/run", f"DELETE {path}"):
        refused = await api(line)
        assert (refused.status, is_problem(refused, "wrong-state")) == (409, True)
        assert "Its task has a record" in refused.json["detail"]
    assert await redis.lrange(f"resque:delayed:{second}", 0, -1) == [raw]
    assert await redis.exists("resque:resqpy:audit") == 0


async def test_a_delayed_job_that_is_gone_is_told_as_gone(admin: Browser) -> None:
    """Not as one that a plugin forbids."""
    answer = await admin.post(f"/delayed/1900000000/{'0' * 40}/run", data={"at": "0"})
    assert answer.headers["location"] == "/delayed?done=gone&n=1"


async def test_a_session_changes_things_from_our_pages_only(
    console: Console, admin: Browser, redis: Redis
) -> None:
    """A browser sends its cookie along with what other sites' pages ask for."""
    ours = await admin.post("/api/v1/queues/mail/pause", json={})
    others = [
        await admin.post("/api/v1/queues/other/pause", json={}, headers={"sec-fetch-site": each})
        for each in ("cross-site", "same-site", "none")
    ]

    assert ours.json() == {"changed": True}
    assert [each.status_code for each in others] == [403] * 3
    assert is_problem(Reply(403, dict(others[0].headers), others[0].content), "forbidden")
    assert await redis.exists("resque:pause:queue:other") == 0


async def test_the_project_s_tasks_are_checked(make_console: MakeConsole, redis: Redis) -> None:
    """Their queue, their inputs; others by the name of their queue."""

    @task(queue="mails")
    def send_mail(to: str, times: int = 1) -> None: ...

    console = make_console(registry=registry_of(send_mail))
    await console.open()
    api = ApiClient(console)

    right = await api("POST /jobs", {"task": "send_mail", "inputs": {"to": "a"}})
    wrong = await api("POST /jobs", {"task": "send_mail", "inputs": {"two": "a"}})
    several = [
        {"task": "send_mail", "inputs": {"to": "a"}},
        {"task": "send_mail", "inputs": {"to": 1}},
    ]
    second = await api("POST /jobs", several)
    unknown = await api("POST /jobs", {"task": "send_mial"})
    ruby = await api("POST /jobs", {"task": "Ruby", "queue": "r", "args": [1]})
    tracked = await api("POST /tasks", {"type": "send_mail", "payload": {"to": 1}})

    assert (right.status, right.json["queue"]) == (201, "mails")
    assert (wrong.status, "'to'" in wrong.json["detail"]) == (422, True)
    assert [each["pointer"] for each in wrong.json["errors"]] == ["/inputs/two", "/inputs/to"]
    assert [each["pointer"] for each in second.json["errors"]] == ["/1/inputs/to"]
    assert "job 1: " in second.json["detail"]
    assert (unknown.status, "did you mean 'send_mail'" in unknown.json["detail"]) == (422, True)
    assert unknown.json["near"] == "send_mail"
    assert (ruby.status, tracked.status) == (201, 422)
    assert len(await waiting(redis, "mails")) == 1


async def test_a_task_says_who_created_it(admin: Browser, api: ApiClient) -> None:
    """A program by the name of its token, a person by their own."""
    program = await api("POST /tasks", {"type": "Mail", "user": "ann"})
    person = (await admin.post("/api/v1/tasks", json={"type": "Mail"})).json()

    assert (program.json["created_by_application"], program.json["created_by_user"]) == (
        "t0",
        "ann",
    )
    assert (person["created_by_application"], person["created_by_user"]) == (None, "admin")

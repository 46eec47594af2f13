"""`resqpy migrate`: the share of a class that runs here; what it can't promise is told, and seen later."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from resqpy.diagnosis.migrating import python_name
from resqpy.store.migrations import Migration
from tests.cli.conftest import Call

LIMITS, RULE = "resque:resqpy:limits", "{migrate}Billing::Charge"
CHARGE, OTHER = '{"class":"Billing::Charge","args":[1]}', '{"class":"Other","args":[]}'
OURS = "here+resqpy:7-1-abcd1234:mail"


def works(client: Redis, worker: str) -> None:
    """A worker lives."""
    client.sadd("resque:workers", worker)
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    client.hset("resque:workers:heartbeat", worker, now)


def stop(client: Redis, worker: str) -> None:
    """It is gone."""
    client.srem("resque:workers", worker)


def lives(client: Redis, language: str, queues: str) -> None:
    """A worker of a language, as far as it can be told."""
    if language == "python":
        works(client, f"here+resqpy:9-1-abcd1234:{queues}")
        return
    worker = f"{language.replace('?', 'some')}-host:1:{queues}"
    if language == "ruby":
        works(client, worker)
        return
    client.sadd("resque:workers", worker)
    if language == "node":
        name = worker.rpartition(":")[0]
        client.set(f"resque:worker:ping:{name}", json.dumps({"time": int(time.time())}))
    if language == "php":
        client.set(f"resque:worker:{worker}:started", time.strftime("%a %b %d %H:%M:%S UTC %Y"))


@pytest.fixture
def ours(client: Redis) -> Redis:
    """A process of resqpy works the queue, and has the class."""
    works(client, OURS)
    client.zadd("resque:resqpy:processes", {"abcd1234": time.time()})
    client.hset("resque:resqpy:known_tasks", "abcd1234", '["Billing::Charge"]')
    return client


def start(resqpy: Call, client: Redis) -> None:
    """There is a rule, by which none is ours; Ruby's worker works only its own queue."""
    works(client, "ruby-host:1:mail.ruby")
    assert (
        resqpy("migrate", "Billing::Charge", "--back", "--to=ruby", "--queue=mail").code == Exit.OK
    )


def test_there_and_back(resqpy: Call, ours: Redis) -> None:
    """By either name; what is not said again stays."""
    start(resqpy, ours)
    rule = Migration("mail", "ruby", 0, 100, 500, 0)
    for share, *words in (
        (500, "--canary", "5%", "--max-time=2s"),
        (5000, "--canary=50"),
        (1, "--canary=0.01%", "--over=20", "--max-errors=1.5%", "--max-time=0s"),
        (10_000, "--all"),
        (0, "--back"),
    ):
        told = resqpy("migrate", "billing.charge", *words, "--json")
        text = ours.hget(LIMITS, RULE)
        rule = replace(rule, share=share, max_ms=2000 if share in (500, 5000) else 0)
        rule = replace(rule, over=20, max_errors=150) if share == 1 else rule
        assert (told.code, told.json["share"], text) == (Exit.OK, share / 100, rule.text.encode())
    assert ours.hget(LIMITS, "{away}mail.ruby") == b"1"
    stop(ours, OURS)
    assert resqpy("migrate", "Billing::Charge", "--remove").code == Exit.OK
    assert [key for key in ours.scan_iter() if b"limits" in key] == []


def test_all_other_classes(resqpy: Call, ours: Redis) -> None:
    """Of a queue."""
    works(ours, "ruby-host:1:mail.ruby")
    assert resqpy("migrate", "*", "--back", "--to=ruby").code == Exit.USAGE
    assert resqpy("migrate", "*", "--back", "--to=ruby", "--queue=mail").code == Exit.OK
    assert ours.hget(LIMITS, "{migrate}*@mail") == b"0 100 500 0 ruby mail"
    assert [e["class"] for e in resqpy("migrate", "*", "--json").json] == ["*@mail"]
    stop(ours, OURS)
    assert resqpy("migrate", "*", "--remove").code == Exit.OK


def test_other_classes_of_two_queues(resqpy: Call, ours: Redis) -> None:
    """Each rule is shown, and removed, by its queue; what is asked of a queue is not answered of another."""
    for queue in ("mail", "post"):
        ours.hset(LIMITS, f"{{migrate}}*@{queue}", f"10000 9 500 0 ruby {queue}")
    ours.hset(LIMITS, RULE, "10000 9 500 0 ruby mail")

    def shown(*words: str) -> list[str]:
        return [each["class"] for each in resqpy("migrate", *words, "--json").json]

    assert resqpy("migrate", "*").code == Exit.USAGE
    assert shown("*", "--queue=post") == ["*@post"]
    assert shown("--queue=mail") == ["*@mail", "Billing::Charge"]
    assert resqpy("migrate", "Billing::Charge", "--queue=post").code == Exit.NOT_FOUND
    assert resqpy("migrate", "Billing::Charge", "--remove", "--queue=post").code == Exit.NOT_FOUND
    assert resqpy("migrate", "*", "--remove", "--queue=post").code == Exit.OK
    assert shown() == ["*@mail", "Billing::Charge"]


@pytest.mark.parametrize("where", ["waits", "waits there", "runs there"])
def test_all_other_classes_run_here(resqpy: Call, ours: Redis, where: str) -> None:
    """Those that nobody knows would fail, also where they went to the other side up to now."""
    works(ours, "ruby-host:1:mail.ruby")
    assert resqpy("migrate", "*", "--back", "--to=ruby", "--queue=mail").code == Exit.OK
    if where == "runs there":
        work = f'{{"queue":"mail.ruby","run_at":"x","payload":{OTHER}}}'
        ours.set("resque:worker:ruby-host:1:mail.ruby", work)
    else:
        ours.rpush("resque:queue:mail" if where == "waits" else "resque:queue:mail.ruby", OTHER)
    for share in ("--all", "--canary=5%"):
        refused = resqpy("migrate", "*", share)
        assert (refused.code, "Other" in refused.err) == (Exit.NO, True)
    assert resqpy("migrate", "*", "--all", "--anyway").code == Exit.OK
    found = [e for e in resqpy("doctor", "--json").json if e["name"] == "class that moves"]
    assert ["Other" in each["problem"] for each in found] == [True]
    assert (
        resqpy("migrate", "Billing::Charge", "--all", "--to=ruby", "--queue=mail").code == Exit.OK
    )
    ours.hset("resque:resqpy:known_tasks", "abcd1234", '["Billing::Charge","Other"]')
    assert resqpy("migrate", "*", "--all").code == Exit.OK


def test_where_nobody_would_take_them(resqpy: Call, ours: Redis) -> None:
    """It refuses, and does nothing; unless it is told, then it warns."""
    words = ("migrate", "Billing::Charge", "--canary=5%", "--to=ruby", "--queue=mail")
    refused = resqpy(*words)
    assert (refused.code, ours.exists(LIMITS)) == (Exit.NO, 0)
    assert "'mail.ruby'" in refused.err

    anyway = resqpy(*words, "--anyway")
    assert (anyway.code, "'mail.ruby'" in anyway.err) == (Exit.OK, True)
    assert resqpy("migrate", "Billing::Charge", "--all").code == Exit.OK  # then all are ours
    assert resqpy("migrate", "Billing::Charge", "--back").code == Exit.NO


@pytest.mark.parametrize(
    ("hinder", "named"),
    [
        (lambda client: works(client, "ruby-host:2:mail"), "ruby-host:2"),
        (lambda client: client.delete("resque:workers:heartbeat", "resque:workers"), "'mail'"),
        (lambda client: client.delete("resque:resqpy:known_tasks"), "Billing::Charge"),
        (lambda client: client.rpush("resque:queue:mail", OTHER), "Other"),
    ],
    ids=["foreign workers of the queue", "no worker of ours", "no task", "other classes"],
)
def test_what_the_share_can_not_promise(
    resqpy: Call, ours: Redis, hinder: object, named: str
) -> None:
    """The command refuses, `status` and `doctor` show it; the way back is not refused for it."""
    start(resqpy, ours)
    assert callable(hinder)
    hinder(ours)
    works(ours, "ruby-host:1:mail.ruby")

    refused = resqpy("migrate", "Billing::Charge", "--canary=5%")
    assert (refused.code, named in refused.err) == (Exit.NO, True)
    assert resqpy("migrate", "Billing::Charge", "--canary=5%", "--anyway").code == Exit.OK
    status = resqpy("migrate", "Billing::Charge", "status", "--json")
    assert (status.code, [named in each for each in status.json[0]["doubts"]]) == (Exit.NO, [True])
    found = [e for e in resqpy("doctor", "--json").json if e["name"] == "class that moves"]
    assert [(named in each["problem"], each["grave"]) for each in found] == [(True, True)]
    assert resqpy("migrate", "Billing::Charge", "--back").code == Exit.OK


def test_both_sides_are_shown(resqpy: Call, ours: Redis) -> None:
    """How many went where, what became of ours, what is known of theirs; and that it fell back."""
    start(resqpy, ours)
    counts = {"ours": 20, "theirs": 60, "ended": 18, "failed": 6, "ms": 900}
    back: dict[str, str | int] = {
        "back": "errors",
        "back_at": 1_800_000_000,
        "back_share": 2500,
        "back_ended": 18,
        "back_failed": 6,
    }
    for field, value in {**counts, **back}.items():
        ours.hset("resque:resqpy:limits:migration:Billing::Charge", field, str(value))
    ours.rpush("resque:queue:mail.ruby", CHARGE, CHARGE, CHARGE)
    work = f'{{"queue":"mail.ruby","run_at":"x","payload":{CHARGE}}}'
    ours.set("resque:worker:ruby-host:1:mail.ruby", work)
    for queue in ("mail", "mail.ruby", "mail.ruby", "elsewhere"):
        entry = {"payload": json.loads(CHARGE), "queue": queue, "exception": "E", "error": "e"}
        ours.rpush("resque:failed", json.dumps(entry))
    said, shown = resqpy("migrate", "status", "--json"), resqpy("migrate")
    [one] = said.json
    [problem] = [e for e in resqpy("doctor", "--json").json if e["name"] == "class that fell back"]

    assert (said.code, shown.code) == (Exit.NO, Exit.NO)
    del counts["theirs"]
    assert one["ours"] == {**counts, "in_failed_list": 1}
    assert one["theirs"] == {"sent": 60, "waiting": 3, "running": 1, "in_failed_list": 2}
    assert (one["fell_back"]["why"], one["fell_back"]["share"]) == ("errors", 25.0)
    for part in (
        "20 taken here",
        "60 sent to 'mail.ruby'",
        "25 % here",
        "50 ms each",
        "6 of 18 runs failed",
    ):
        assert part in shown.out
    assert "6 of 18 runs failed" in problem["problem"]
    resqpy("migrate", "Billing::Charge", "--back")  # somebody has seen it
    assert resqpy("migrate").code == Exit.OK


@pytest.mark.parametrize("share", ["--back", "--all"])
def test_what_waits_there_when_the_rule_goes(resqpy: Call, ours: Redis, share: str) -> None:
    """Is told; it is refused where nobody would take it, and `status` tells that before."""
    start(resqpy, ours)
    assert resqpy("migrate", "Billing::Charge", share).code == Exit.OK
    stop(ours, OURS)
    ours.rpush("resque:queue:mail.ruby", CHARGE)
    stop(ours, "ruby-host:1:mail.ruby")
    refused, status = resqpy("migrate", "Billing::Charge", "--remove"), resqpy("migrate")
    assert (refused.code, "1 job in 'mail.ruby'" in refused.err) == (Exit.NO, True)
    assert (status.code, "no worker of ruby" in status.out) == (Exit.NO, True)
    works(ours, "ruby-host:1:mail.ruby")
    removed = resqpy("migrate", "Billing::Charge", "--remove")
    assert (removed.code, "1 job in 'mail.ruby'" in removed.err) == (Exit.OK, True)


def test_jobs_of_the_other_side_are_not_left_to_ours(resqpy: Call, ours: Redis) -> None:
    """Workers of resqpy that work all queues take from the other side's as soon as no rule names it."""
    start(resqpy, ours)
    ours.hset(LIMITS, "{migrate}*@mail", "0 9 500 0 ruby mail")
    works(ours, "here+resqpy:7-2-abcd1234:*")
    ours.rpush("resque:queue:mail.ruby", CHARGE)
    assert resqpy("migrate", "Billing::Charge", "--remove").code == Exit.OK
    assert ours.hget(LIMITS, "{away}mail.ruby") == b"1"
    stop(ours, OURS)
    refused = resqpy("migrate", "*", "--remove")
    assert (refused.code, "'mail.ruby'" in refused.err, ours.hlen(LIMITS)) == (Exit.NO, True, 2)
    assert resqpy("migrate", "*", "--remove", "--anyway").code == Exit.OK


@pytest.mark.parametrize("share", ["--back", "--canary=50%"])
def test_a_share_is_not_all_at_once(resqpy: Call, ours: Redis, share: str) -> None:
    """Without the rule workers of resqpy take all jobs: that has its own option."""
    start(resqpy, ours)
    assert resqpy("migrate", "Billing::Charge", share).code == Exit.OK
    refused = resqpy("migrate", "Billing::Charge", "--remove")
    assert (refused.code, "--all" in refused.err, ours.hexists(LIMITS, RULE)) == (
        Exit.NO,
        True,
        True,
    )
    assert resqpy("migrate", "Billing::Charge", "--all").code == Exit.OK
    assert resqpy("migrate", "Billing::Charge", "--remove").code == Exit.OK


def test_one_class_moves_in_one_queue_to_one_language(resqpy: Call, ours: Redis) -> None:
    """Another queue or language would leave what was sent: the rule stays as it was."""
    start(resqpy, ours)
    works(ours, "ruby-host:1:post.ruby")
    works(ours, "here+resqpy:7-3-abcd1234:post")
    before = ours.hgetall(LIMITS)
    for other in ("--queue=post", "--to=node"):
        words = ("migrate", "Billing::Charge", "--canary=5%", other, "--anyway")
        assert (resqpy(*words).code, ours.hgetall(LIMITS)) == (Exit.USAGE, before)
    same = ("--queue=mail", "--to=ruby")
    assert resqpy("migrate", "Billing::Charge", "--canary=5%", *same).code == Exit.OK


@pytest.mark.parametrize(
    ("language", "able"),
    [("ruby", "ruby"), ("node", "node"), ("php", "php"), ("ruby", "?"), ("elixir", "ruby"), ("elixir", "?")],
)  # fmt: skip
def test_who_is_a_worker_of_the_other_language(
    resqpy: Call, ours: Redis, language: str, able: str
) -> None:
    """One of another is none, where it can be told; it runs no such jobs."""
    others = {"ruby", "node", "php", "python"} - {language}
    for each in others if language != "elixir" else {"python"}:
        lives(ours, each, "*")
    words = ("migrate", "Billing::Charge", "--back", f"--to={language}", "--queue=mail")
    refused = resqpy(*words)
    assert (refused.code, f"worker of {language}" in refused.err) == (Exit.NO, True)
    lives(ours, able, f"mail.{language}")
    assert resqpy(*words).code == Exit.OK


@pytest.mark.parametrize(
    ("rules", "blocks"),
    [({"sendMail": "5 9 500 0 ruby default"}, False), ({"*@default": "0 9 500 0 ruby default"}, True),
     ({"sendMail": "0 9 500 0 ruby other"}, None),
     ({"sendMail": "5 9 500 0 ruby other", "*@default": "0 9 500 0 ruby default"}, True),
     ({"sendMail": "5 9 500 0 ruby default", "*@default": "0 9 500 0 ruby default"}, False)],
)  # fmt: skip
def test_who_asks_why_is_told(
    resqpy: Call, client: Redis, rules: dict[str, str], *, blocks: bool | None
) -> None:
    """Whether jobs of the task's queue go elsewhere."""
    for name, rule in rules.items():
        client.hset(LIMITS, f"{{migrate}}{name}", rule)
    found = resqpy("task", "explain", "sendMail", "--json").json
    told = [each["blocks"] for each in found if each["kind"] == "class that moves"]
    assert told == ([] if blocks is None else [blocks])


def test_leave_tells_it(resqpy: Call, client: Redis) -> None:
    """Nobody else obeys the rule."""
    client.hset(LIMITS, RULE, "5 100 500 0 ruby mail")
    told = resqpy("leave", "--dry-run", "--json").json["left"]["unobeyed"]
    assert [(e["kind"], e["count"]) for e in told] == [("classes that move", 1)]


def test_where_the_queue_and_the_language_are_known(resqpy: Call, client: Redis) -> None:
    """The queue of a task of the project; the language of the workers that work it."""
    works(client, "node-host:1:default")
    client.set("resque:worker:ping:node-host:1", json.dumps({"time": int(time.time())}))
    works(client, "node-host:1:default.node")
    told = resqpy("migrate", "sendMail", "--back", "--anyway")
    assert told.code == Exit.OK
    assert client.hget(LIMITS, "{migrate}sendMail") == b"0 100 500 0 node default"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["X", "--canary=5%"], Exit.NOT_FOUND),
        (["X", "--canary=5%", "--anyway"], Exit.USAGE),
        (["X", "--canary=5%", "--queue=mail", "--anyway"], Exit.USAGE),
        (["X", "--canary=101%", "--queue=mail", "--to=ruby"], Exit.USAGE),
        (["X", "--canary=many", "--queue=mail", "--to=ruby"], Exit.USAGE),
        (["X", "--back", "--queue=mail^5", "--to=ruby"], Exit.USAGE),
        (["X", "--back", "--queue=mail", "--to=my ruby"], Exit.USAGE),
        (["sendMail", "--back", "--to=python", "--anyway"], Exit.USAGE),
        (["X", "--back", "--all", "--queue=mail", "--to=ruby"], Exit.USAGE),
        (["X", "Y", "--back", "--queue=mail", "--to=ruby"], Exit.USAGE),
        (["X", "--over=5"], Exit.USAGE),
        (["sendMail", "--canary=0.001%", "--to=ruby", "--anyway"], Exit.USAGE),
        (["sendMail", "--canary=99.999%", "--to=ruby", "--anyway"], Exit.USAGE),
        (["sendMail", "--all", "--to=ruby", "--max-errors=0.001%", "--anyway"], Exit.USAGE),
        (["sendMail", "--all", "--to=ruby", "--over=1000000000000", "--anyway"], Exit.USAGE),
        (["sendMail", "--all", "--to=ruby", "--max-time=99999999999d", "--anyway"], Exit.USAGE),
        (["X", "--remove", "--over=5"], Exit.USAGE),
        (["X", "--remove", "--to=ruby"], Exit.USAGE),
        (["X", "--remove", "--max-time=5s"], Exit.USAGE),
        (["--back"], Exit.USAGE),
        (["X", "--remove"], Exit.NOT_FOUND),
        (["X"], Exit.NOT_FOUND),
        (["status"], Exit.OK),
    ],
)
def test_what_is_refused(resqpy: Call, client: Redis, words: list[str], code: Exit) -> None:
    """And nothing is written."""
    assert resqpy("migrate", *words).code == code
    assert client.exists(LIMITS) == 0


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("9" * 5000 + " 9 500 0 ruby default", {}),
        ("0 " + "9" * 400 + " 500 0 ruby default", {}),
        ("0 9 500 " + "9" * 5000 + " ruby default", {}),
        ("0 9 500 0 ruby default", {"since": "9" * 30}),
        ("0 9 500 0 ruby default", {"ended": "1", "ms": "9" * 4000, "failed": "9" * 400}),
        ("0 9 500 0 ruby default", {"ended": "1", "ms": "9" * 18, "ours": "-5"}),
        ("0 9 500 0 ruby default", {"back": "errors", "back_at": "9" * 18, "back_share": "x"}),
    ],
)
@pytest.mark.parametrize(
    "words", [["migrate"], ["doctor"], ["task", "explain", "sendMail"], ["leave", "--dry-run"]]
)
def test_numbers_of_somebody_else(
    resqpy: Call, client: Redis, words: list[str], text: str, note: dict[str, str]
) -> None:
    """Break nothing that looks at them."""
    client.hset(LIMITS, "{migrate}sendMail", text)
    for field, value in note.items():
        client.hset("resque:resqpy:limits:migration:sendMail", field, value)
    assert resqpy(*words).code in (Exit.OK, Exit.NO)
    assert resqpy(*words, "--json").code in (Exit.OK, Exit.NO)


@pytest.mark.parametrize(
    ("field", "words"),
    [("Billing::Charge", ["Billing::Charge"]), ("*@mail", ["*", "--queue=mail"])],
)
def test_a_rule_that_nobody_can_read(
    resqpy: Call, client: Redis, field: str, words: list[str]
) -> None:
    """Is told, since nobody obeys it; it can be removed, and set again."""
    client.hset(LIMITS, f"{{migrate}}{field}", "half of them to ruby")
    for asked in (["status"], [*words, "status"]):
        status = resqpy("migrate", *asked)
        assert (status.code, "'half of them to ruby'" in status.out) == (Exit.NO, True)
        [told] = resqpy("migrate", *asked, "--json").json
        assert (told["class"], told["rule"]) == (field, "half of them to ruby")
        assert len(told["doubts"]) == 1
    [found] = [e for e in resqpy("doctor", "--json").json if e["name"] == "unreadable rule"]
    assert (found["grave"], "'half of them to ruby'" in found["problem"]) == (True, True)

    assert resqpy("migrate", *words, "--remove", "--json").json["removed"] is True
    assert client.hkeys(LIMITS) == []
    assert resqpy("migrate", *words, "--remove").code == Exit.NOT_FOUND
    assert resqpy("migrate", "status").code == Exit.OK

    client.hset(LIMITS, f"{{migrate}}{field}", "half of them to ruby")
    again = ["--back", "--to=ruby", "--queue=mail", "--anyway"]
    assert resqpy("migrate", words[0], *again).code == Exit.OK
    assert client.hget(LIMITS, f"{{migrate}}{field}") == b"0 100 500 0 ruby mail"


def test_names() -> None:
    """As a class of Ruby would be named here."""
    classes = ("Billing::Charge", "SendInvoice", "HTTPPing::RunOnce", "sendMail", "a.b")
    assert [*map(python_name, classes)] == [
        "billing.charge", "send_invoice", "http_ping.run_once", "send_mail", "a.b",
    ]  # fmt: skip

"""A project of Django's as its users have it: each of its processes is one of its own, on a real Redis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis

pytest.importorskip("django", reason="Django is not installed")

SITE = Path(__file__).parent / "django_site"


class Site:
    """The project, with a database and a Redis.

    Attributes:
        environ: of its processes.
    """

    def __init__(self, root: Path, redis_url: str) -> None:
        self.root = root
        kept = {name: text for name, text in os.environ.items() if not name.startswith("RESQPY")}
        self.environ = kept | {
            "SITE_REDIS": redis_url,
            "SITE_DATABASE": str(root / "db.sqlite3"),
            "RESQPY_LOGGER_LEVEL": "critical",
            "RESQPY_ENV": "production",
        }

    def run(
        self, *words: str, code: int = 0, environ: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        done = subprocess.run(
            [sys.executable, *words], cwd=self.root, env={**self.environ, **environ}, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def manage(
        self, *words: str, code: int = 0, environ: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py`."""
        return self.run("manage.py", *words, code=code, environ=environ)

    def script(self, text: str, **environ: str) -> Any:
        """What a script prints as JSON, with Django set up."""
        head = "import sys; sys.path[:0] = ['.']; import json, django; django.setup(); from shop.tasks import *\n"
        settings = {"DJANGO_SETTINGS_MODULE": "config.settings"}
        done = self.run("-c", head + dedent(text), environ=settings | environ)
        return json.loads(done.stdout)

    def work(self) -> None:
        """Let a worker work what waits."""
        self.manage("resqpy", "worker", "--burst", "--no-scheduler")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it with tables."""
    root = Path(shutil.copytree(SITE, tmp_path_factory.mktemp("django") / "site"))
    Site(root, "redis://127.0.0.1:1").manage("migrate", "--run-syncdb", "--verbosity", "0")
    return root


@pytest.fixture
def site(migrated: Path, tmp_path: Path, redis_url: str) -> Site:
    """A copy for one test."""
    return Site(Path(shutil.copytree(migrated, tmp_path / "site")), redis_url)


RESULTS = """
    import asyncio
    def told(task, id):
        r = task.get_result(id)
        value = r.return_value if r.status == "SUCCESSFUL" else None
        errors = [[e.exception_class.__name__, e.traceback.splitlines()[-1]] for e in r.errors]
        times = [r.enqueued_at, r.started_at, r.finished_at]
        return [r.status, value, errors, r.args, r.kwargs, r.attempts, times == sorted(times)]
"""


def test_tasks_of_django_run_and_have_results(site: Site) -> None:
    """Plain, async and failing ones, with the database; the records are tracked tasks."""
    ids = site.script(
        """
        placed = place.enqueue("ada")
        mailed = mail.enqueue("bob", times=2)
        failed = fails.using(priority=-100).enqueue(x=3)
        print(json.dumps([[r.id, r.status, r.is_finished] for r in (placed, mailed, failed)]))
        """
    )
    assert [each[1:] for each in ids] == [["READY", False]] * 3
    site.work()

    first, second, third = (each[0] for each in ids)
    told = site.script(
        f"""{RESULTS}
    print(json.dumps([told(place, {first!r}), told(mail, {second!r}), told(fails, {third!r})]))
        """
    )
    assert told[0] == ["SUCCESSFUL", 1, [], ["ada"], {}, 1, True]
    assert told[1] == [
        "SUCCESSFUL",
        ["bob", "bob", 1, second, 1],
        [],
        ["bob"],
        {"times": 2},
        1,
        True,
    ]
    assert told[2] == ["FAILED", None, [["ValueError", "ValueError: no 3"]], [], {"x": 3}, 1, True]


def test_the_job_on_the_wire(site: Site, redis_url: str) -> None:
    """Its class is the dotted name of the function, its queue Django's, a priority a queue of its own."""
    site.script("mail.using(priority=100).enqueue('bob'); print('0')")
    with Redis.from_url(redis_url) as redis:
        [raw] = redis.lrange("resque:queue:mail^9", 0, -1)
    job = json.loads(raw)
    assert (job["class"], job["queue"]) == ("shop.tasks.mail", "mail^9")
    assert {**job["args"][0], "_task_id": ""} == {
        "args": ["bob"], "kwargs": {}, "worker_ids": [], "errors": [], "_task_id": "",
    }  # fmt: skip


def test_resqpy_finds_django_by_its_settings(site: Site) -> None:
    """`resqpy worker` with DJANGO_SETTINGS_MODULE alone, and a task of resqpy's own with connections closed
    between jobs.
    """
    site.script("print(json.dumps([bool(kept.sync.enqueue(n=n)) for n in (1, 2)]))")
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "RESQPY_LOGGER_LEVEL": "info"}
    worked = site.run("-m", "resqpy.cli", "worker", "--burst", "--no-scheduler", environ=settings)

    lines = [json.loads(line) for line in worked.stderr.splitlines() + worked.stdout.splitlines()]
    results = [line["result"] for line in lines if line["event"] == "job succeeded"]
    assert results == ["1: closed", "2: closed"]


def test_after_the_commit(site: Site, redis_url: str) -> None:
    """Nothing is enqueued by a transaction that is rolled back, and nothing before one is committed."""
    lengths = site.script(
        """
        from django.db import transaction
        from resqpy import api
        from resqpy.contrib.django import enqueue_on_commit
        found = []
        def look():
            found.append([api.sync.tasks.length("default"), api.sync.tasks.length("mail")])
        try:
            with transaction.atomic():
                after.enqueue("no"); enqueue_on_commit(kept, n=1); enqueue_on_commit(place, "no")
                raise KeyError
        except KeyError:
            look()
        with transaction.atomic():
            result = after.enqueue("yes"); enqueue_on_commit(kept, n=1); enqueue_on_commit(place, "yes")
            look()
        look()
        print(json.dumps([found, result.status, after.get_result(result.id).status]))
        """
    )
    assert lengths == [[[0, 0], [0, 0], [2, 1]], "READY", "READY"]


def test_later(site: Site) -> None:
    """With `run_after` a task waits, and says so."""
    told = site.script(
        """
        from datetime import timedelta
        from django.utils import timezone
        from resqpy import api
        result = place.using(run_after=timezone.now() + timedelta(hours=1)).enqueue("ada")
        result.refresh()
        found = api.sync.tracked.get(result.id)
        print(json.dumps([result.status, found.status, api.sync.tasks.length("default")]))
        """
    )
    assert told == ["READY", "scheduled", 0]


def test_a_class_that_is_no_task_is_not_imported(site: Site, redis_url: str) -> None:
    """Whoever can write to Redis can't have anything imported: it goes to the failed list as it is."""
    raw = b'{"class":"shop.views.lost","queue":"default","args":[{"args":[],"kwargs":{}}]}'
    with Redis.from_url(redis_url) as redis:
        redis.sadd("resque:queues", "default")
        redis.rpush("resque:queue:default", raw)
        site.work()
        [entry] = map(json.loads, redis.lrange("resque:failed", 0, -1))
    assert (entry["exception"], entry["payload"]["class"]) == ("UnknownTask", "shop.views.lost")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("from shop.views import lost; lost.enqueue()", "no worker finds shop.views.lost"),
        (
            "import asyncio\nasync def view(): place.enqueue('ada')\nasyncio.run(view())",
            "await aenqueue",
        ),
        ("place.enqueue({1, 2})", "Unsupported type"),
    ],
)
def test_what_is_wrong_is_said_at_once(site: Site, redis_url: str, code: str, error: str) -> None:
    """By the enqueue, and nothing is enqueued."""
    told = site.script(
        f"""
try:
    exec({code!r})
except Exception as error:
    print(json.dumps(str(error)))
"""
    )
    assert error in told
    with Redis.from_url(redis_url) as redis:
        assert redis.keys("*") == []


def test_async_code(site: Site) -> None:
    """`aenqueue` and `aget_result`."""
    told = site.script(
        """
        import asyncio
        async def view():
            result = await place.aenqueue("ada")
            return (await place.aget_result(result.id)).status
        print(json.dumps(asyncio.run(view())))
        """
    )
    assert told == "READY"


@pytest.mark.full
def test_a_task_whose_worker_died_has_failed(site: Site) -> None:
    """When its lock has ended, half a minute later, a scheduler settles it; the error is a class that exists."""
    [result_id] = site.script("print(json.dumps([dies.enqueue().id]))")
    site.manage("resqpy", "worker", "--burst", "--no-scheduler", code=7)
    words = [sys.executable, "manage.py", "resqpy", "scheduler"]
    with subprocess.Popen(words, cwd=site.root, env=site.environ) as scheduler:
        told = site.script(
            f"""
            import time
            result, until_s = dies.get_result({result_id!r}), time.monotonic() + 150
            while not result.is_finished and time.monotonic() < until_s:
                time.sleep(0.2)
                result.refresh()
            errors = [each.exception_class.__name__ for each in result.errors]
            print(json.dumps([result.status, errors, result.attempts]))
            """
        )
        scheduler.terminate()
    assert told == ["FAILED", ["WorkerDied"], 1]


def test_a_cancelled_task_has_failed(site: Site) -> None:
    """Django's statuses have no other word for it."""
    told = site.script(
        """
        from resqpy import api
        result = place.enqueue("ada")
        api.sync.tracked.cancel(result.id)
        result.refresh()
        print(json.dumps([result.status, result.is_finished, result.errors]))
        """
    )
    assert told == ["FAILED", True, []]


def test_a_database_connection_that_is_lost_between_two_jobs(site: Site) -> None:
    """The next one opens another, and those after it keep that."""
    site.environ["SITE_KEEPS"] = "yes"
    ids = site.script("print(json.dumps([each.enqueue().id for each in (loses, keeps, keeps)]))")
    site.work()
    _, second, third = site.script(
        f"results = map(keeps.get_backend().get_result, {ids}); "
        "print(json.dumps([each.return_value for each in results]))"
    )
    assert second == third


@pytest.mark.full
def test_a_change_is_loaded(site: Site) -> None:
    """By `manage.py resqpy start`, as by Django's own server."""
    words = [sys.executable, "manage.py", "resqpy", "start"]
    environ = {**site.environ, "RESQPY_ENV": "development"}
    with subprocess.Popen(words, cwd=site.root, env=environ) as started:
        try:
            told = [_counted(site)]
            file = site.root / "shop" / "tasks.py"
            file.write_text(file.read_text().replace("Order.objects.count()", "'changed'"))
            while told[-1] == 0:
                told.append(_counted(site))
        finally:
            started.terminate()
    assert (told[0], told[-1]) == (0, "changed")


def _counted(site: Site) -> Any:
    return site.script(
        """
        import time
        result, until_s = counts.enqueue(), time.monotonic() + 100
        while not result.is_finished and time.monotonic() < until_s:
            time.sleep(0.05)
            result.refresh()
        print(json.dumps(result.return_value))
        """
    )


def test_a_project_with_nothing_of_resqpys_but_its_app(site: Site) -> None:
    """No Redis is named, no folder is called as one of ours: the embedded one serves all of its processes."""
    (site.root / "config").rename(site.root / "mysite")
    with (site.root / "mysite" / "settings.py").open("a") as settings:
        settings.write("RESQPY = {}\n")
    environ = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "RESQPY_ENV": "development"}
    assert site.script("print(json.dumps(bool(kept.sync.enqueue(n=1))))", **environ) is True
    [queue] = json.loads(site.manage("resqpy", "queues", "--json", environ=environ).stdout)
    assert (queue["queue"], queue["jobs"]) == ("mail", 1)
    site.manage("resqpy", "worker", "--burst", environ=environ)
    assert (site.root / ".resqpy").is_dir()


def test_the_tests_of_the_project(site: Site, redis_url: str) -> None:
    """By Django's own runner: with a Redis of theirs, in their transactions, in whatever order."""
    environ = {"SITE_BACKEND": "resqpy.contrib.django.testing.DrainBackend"}
    done = site.manage("test", "--verbosity", "0", "--shuffle", environ=environ)
    assert "Ran 6 tests" in done.stderr
    with Redis.from_url(redis_url) as redis:
        assert redis.keys("*") == []


CLEARS = """
from django.test import SimpleTestCase
from resqpy.contrib.django.testing import clear, drain
from shop.tasks import kept

class ClearTests(SimpleTestCase):
    def setUp(self):
        clear()

    def test_it(self):
        kept.sync.enqueue(n=1)
        self.assertEqual(len(drain()), 1)
"""
DRAINS = "resqpy.contrib.django.testing.DrainBackend"


def test_clear_where_no_task_of_djangos_is(site: Site, redis_url: str) -> None:
    """Nothing makes Django's backends then; the tests have a Redis of their own all the same."""
    code = "import os, resqpy\n@resqpy.task\ndef kept(n: int) -> None:\n    'It does nothing.'\n"
    (site.root / "shop" / "tasks.py").write_text(code)
    (site.root / "shop" / "tests.py").write_text(CLEARS)
    with (site.root / "config" / "settings.py").open("a") as settings:
        settings.write('INSTALLED_APPS = ["shop", "resqpy.contrib.django"]\n')
    with Redis.from_url(redis_url) as redis:
        redis.set("real", "data")
        done = site.manage("test", "--verbosity", "0", environ={"SITE_BACKEND": DRAINS})
        assert "Ran 1 test" in done.stderr
        assert redis.keys("*") == [b"real"]


@pytest.mark.parametrize(
    ("environ", "before", "problem"),
    [
        ({"SITE_BACKEND": DRAINS}, "", None),
        ({}, "", "DrainBackend"),
        ({}, "api.sync.tasks.stats(); DrainBackend('default', {'OPTIONS': {}})", "another Redis"),
    ],
    ids=["set up", "no backend of tests", "opened before"],
)
def test_only_a_redis_of_tests_is_emptied(
    site: Site, redis_url: str, environ: dict[str, str], before: str, problem: str | None
) -> None:
    """Neither `clear` nor `drain` touches the configured one, whose jobs nobody may lose or run."""
    with Redis.from_url(redis_url) as redis:
        redis.set("real", "data")
        for verb in ("clear", "drain"):
            told = site.script(
                f"""
                from resqpy import UsageError, api
                from resqpy.contrib.django.testing import DrainBackend, clear, drain
                {before or "pass"}
                try:
                    {verb}()
                    print("null")
                except UsageError as error:
                    print(json.dumps(str(error)))
                """,
                **environ,
            )
            assert (problem or "") in (told or "")
            assert (told is None) == (problem is None)
        assert redis.keys("*") == [b"real"]


def test_sentinels_are_not_asked_for_a_redis_of_tests(site: Site, redis_url: str) -> None:
    """Nor is a Cluster: what the settings say beside the URL leads to the real one too."""
    environ = {"SITE_BACKEND": DRAINS, "RESQPY_REDIS_SENTINELS": "127.0.0.1:1"}
    told = site.script(
        """
        from resqpy.contrib.django.testing import clear
        clear()
        print(json.dumps(bool(kept.sync.enqueue(n=1))))
        """,
        **environ,
    )
    assert told is True
    with Redis.from_url(redis_url) as redis:
        assert redis.keys("*") == []


@pytest.mark.parametrize(
    ("words", "environ", "identity"),
    [
        (["check"], {"SITE_QUEUES": "a" * 600}, "resqpy.E002"),
        (["check", "--deploy"], {"RESQPY_REDIS_URL": "redis://127.0.0.1:1"}, "resqpy.E003"),
    ],
)
def test_system_checks(
    site: Site, words: list[str], environ: dict[str, str], identity: str
) -> None:
    """Django's `check` names what is wrong."""
    site.manage("check")
    done = site.manage(*words, code=1, environ=environ)
    assert identity in done.stderr


def test_the_command_line_of_resqpy(site: Site) -> None:
    """`manage.py resqpy` passes words and exit codes on, and `--settings` is Django's."""
    site.script("place.enqueue('ada'); print('0')")
    words = ("resqpy", "queues", "--json", "--settings", "config.settings")
    [queue] = json.loads(site.manage(*words).stdout)
    assert (queue["queue"], queue["jobs"]) == ("default", 1)
    site.manage("resqpy", "queues", "--nonsense", code=2)

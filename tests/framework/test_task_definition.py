"""How tasks are defined, and what is said when they are defined wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from resqpy.engine.definition import PERIODIC_HINT
from resqpy.engine.plugin import Plugin
from resqpy.framework.tasks.task import PROPERTIES, Task, task
from tests.framework.conftest import Files


def test_a_class_and_a_function_define_tasks(files: Files) -> None:
    """The seed's three tasks: one in a file, two in another."""
    files.write(
        tasks__mail="""
        from resqpy import Task

        class SendWelcomeEmail(Task):
            name = "sendWelcomeEmail"
            description = "I will send a new user a welcome email"
            queue = "default"
            plugins = []
            plugin_options = {}
            frequency = 0

            async def run(self, params, worker):
                return params["email"]
        """,
        tasks__greetings__all="""
        from datetime import timedelta
        from resqpy import Task, task

        class SayHello(Task):
            '''I say hello.

            In many languages.
            '''
            frequency = 1000

            def run(self, params, worker):
                return "hello"

        @task("sayGoodbye", queue="low", frequency=timedelta(seconds=2), time_limit=500)
        async def goodbye():
            '''I say goodbye.'''

        @task(queue="high", retry=2, at_most_once=True)
        def add(a: int, b: int = 2):
            '''I add.'''
            return a + b
        """,
    )
    tasks = files.load().registry.tasks

    assert files.problems() == []
    assert sorted(tasks) == ["add", "sayGoodbye", "sayHello", "sendWelcomeEmail"]
    hello, goodbye, add = tasks["sayHello"], tasks["sayGoodbye"], tasks["add"]
    assert (hello.description, hello.queue) == ("I say hello.", "default")
    assert (hello.frequency_ms, hello.periodic, hello.is_async) == (1000, True, False)
    assert (goodbye.frequency_ms, goodbye.time_limit_ms, goodbye.queue) == (2000, 500, "low")
    assert (add.inputs.required, add.inputs["b"].default, add.at_most_once) == (["a"], 2, True)
    assert add.retry == {"retry_limit": 3}
    assert tasks["sendWelcomeEmail"].description == "I will send a new user a welcome email"


def test_limits_of_tasks(files: Files) -> None:
    """One, several, shared by name; two that differ by that name, and an input that is none, are told."""
    files.write(
        tasks__a="""
        from resqpy import Limit, Rate, task

        @task(limit=Limit(4))
        def a():
            'A.'

        @task(limit=[Limit(8, name="erp"), Rate(5, key="account")])
        def b(account: str):
            'B.'

        @task(limit=Limit(9, name="erp"))
        def c():
            'C.'

        @task(limit=Limit(1, per="acount"))
        def d(account: str):
            'D.'

        @task(limit=4)
        def e():
            'E.'
        """,
    )
    told = "\n".join(files.problems())

    assert told.count("tasks/a.py") == 3
    assert ("8 in the task 'b' and 9 in 'c'" in told, "did you mean 'account'" in told) == (
        True,
        True,
    )
    assert "limit is 4, neither a Limit nor a Rate" in told


def test_default_names(files: Files) -> None:
    """A class gives its name with a small first letter, a function its own, a module its name first."""
    files.write(
        tasks__a="""
        from resqpy import Task, task

        class SendHTMLMail(Task):
            '''One.'''
            def run(self): ...

        @task()
        def send_mail():
            '''Two.'''
        """,
        modules__auth__tasks__b="""
        from resqpy import Task, task

        class SessionValidation(Task):
            '''Three.'''
            def run(self): ...

        @task("named.byHand")
        def other():
            '''Four.'''
        """,
    )
    tasks = files.load().registry.tasks

    assert sorted(tasks) == ["auth.sessionValidation", "named.byHand", "sendHTMLMail", "send_mail"]
    assert tasks["auth.sessionValidation"].module == "auth"


def test_a_base_class_is_no_task(files: Files) -> None:
    """What tasks of a file have in common may stand in a class without `run`."""
    files.write(
        tasks__a="""
        from resqpy import Task

        class Mail(Task):
            queue = "mail"

        class Welcome(Mail):
            '''One.'''
            def run(self): ...

        class _Helper(Task):
            pass
        """
    )
    tasks = files.load().registry.tasks

    assert {name: task.queue for name, task in tasks.items()} == {"welcome": "mail"}


HEAD = "from resqpy import Input, Task, task\n"


NO_RUBY_KEYS = (
    "2: task a: keys of Ruby's plugins need inputs by their places, as Ruby's perform has: write "
    "run(self, id, why, /); or give the plugin the option ruby_version, where Ruby's perform takes one hash"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class A(Task):\n    '''A.'''\n", "2: task A: has no method run"),
        (
            "class A(Task):\n    '''A.'''\n    def runn(self): ...",
            "2: task A: has no method run; did you mean 'runn'?",
        ),
        (
            "class A(Task):\n    '''A.'''\n    frequncy = 1\n    def run(self): ...",
            "4: task A: unknown property 'frequncy'; did you mean 'frequency'?",
        ),
        (
            "@task(frequncy=1)\ndef a(): 'A.'",
            "2: TypeError: @task has no property 'frequncy'; did you mean 'frequency'?",
        ),
        ("@task(\n  queue='')\ndef a(): 'A.'", "3: task a: the queue name is empty; use 'default'"),
        (
            "@task(\n  frequency='1s')\ndef a(): 'A.'",
            "3: task a: frequency: '1s' is neither milliseconds nor a timedelta",
        ),
        (
            "@task(frequency=1,\n  cron='* * * * *')\ndef a(): 'A.'",
            "3: task a: cron and frequency are both set; a task has one of them",
        ),
        (
            "@task(frequency=1)\ndef a(to: str): 'A.'",
            "2: task a: a periodic task can't have required inputs ('to'): give them defaults",
        ),
        (
            "@task(missed='never')\ndef a(): 'A.'",
            "2: task a: missed is 'never', not one of skip, once, all",
        ),
        (
            "@task(retry=-1)\ndef a(): 'A.'",
            "2: task a: retry is -1, neither a number nor a dict of Retry's options",
        ),
        ("@task(plugins='Retry')\ndef a(): 'A.'", "2: task a: plugins is 'Retry', not a list"),
        (
            "@task(at_most_once=1)\ndef a(): 'A.'",
            "2: task a: at_most_once is 1, not True or False",
        ),
        (
            "@task(inputs={'to': {'requird': True}})\ndef a(to): 'A.'",
            "2: task a: input 'to' has an unknown 'requird'; did you mean 'required'?",
        ),
        (
            "@task(inputs={'too': Input()})\ndef a(to): 'A.'",
            "2: task a: input 'too' is declared, but run doesn't take it; did you mean 'to'?",
        ),
        (
            "@task()\ndef a(data: bytes): 'A.'",
            (
                "3: task a: input 'data' is a bytes, which JSON can't represent; declare a type"
                " that resqpy can write (JSON's own, datetime, date, time, timedelta, UUID, Decimal,"
                " an enum, a dataclass, a NamedTuple, a TypedDict, a set), call resqpy.converter for"
                " it, or give the input a formatter; a session or a client is a resource: resqpy.resource"
            ),
        ),
        (
            "@task()\ndef a(*args): 'A.'",
            (
                "3: task a: run's parameter '*args' has no type hint; it takes all inputs by position:"
                " write *args: Any if it should; a decorator between needs functools.wraps"
            ),
        ),
        (
            "@task()\ndef a(x: 'Nowhere'): 'A.'",
            (
                "3: task a: the type hint 'Nowhere' of input 'x' can't be read:"
                " name 'Nowhere' is not defined; make it a name of the module at run time: import it outside"
                " `if TYPE_CHECKING:`, and define it outside functions"
            ),
        ),
        (
            "@task(middleware=['auht'])\ndef a(): 'A.'",
            "2: there is no middleware 'auht' (known: none)",
        ),
        (
            "@task()\nclass A: ...",
            "2: TypeError: @task is for functions; let the class A derive from resqpy.Task",
        ),
        ("class A(Task):\n    'A.'\n    run = 3", "4: task A: run is 3, not a method"),
        (
            "@task()\ndef a():\n    'A.'\n    yield",
            "3: task a: run is a generator, so calling it would run nothing; return a value instead",
        ),
        (
            "class A:\n    queue = 'low'\n    def run(self, params, worker): ...",
            "2: class A looks like a task, but doesn't derive from Task",
        ),
        (
            "@task()\ndef a(): 'A.'\n@task()\ndef a(): 'A.'",
            "5: a is defined twice: this one hides that of line 3",
        ),
        (
            "@task(time_limit=0)\ndef a(): 'A.'",
            "2: task a: time_limit is 0, so no run could finish; None: no limit",
        ),
        (
            "@task(expires=0)\ndef a(): 'A.'",
            "2: task a: expires is 0, so no run could finish; None: no limit",
        ),
        (
            "@task(deadline=5000, cron='* * * * *')\ndef a(): 'A.'",
            f"2: task a: deadline is for jobs that somebody enqueues; {PERIODIC_HINT}",
        ),
        (
            "@task(frequency=0.5)\ndef a(): 'A.'",
            "2: task a: frequency: 0.5 is less than a millisecond",
        ),
        ("@task(description=5)\ndef a(): ...", "2: task a: description is 5, not a text"),
        (
            "@task(plugins=['Retry'], plugin_options={'Retry': 3})\ndef a(): 'A.'",
            "2: task a: plugin_options of 'Retry' are 3, not a dict",
        ),
        *(
            (
                f"@task(plugins=['{name}'], plugin_options={{'{name}': {{'keys': 'ruby'}}}})\ndef a(b): 'A.'",
                NO_RUBY_KEYS,
            )
            for name in ("JobLock", "QueueLock", "Retry")
        ),
        ("import sys\nsys.exit(3)", "3: SystemExit: it calls sys.exit(3) while it is loaded"),
        (
            "from . import b",
            "2: ImportError: cannot import name 'b' from 'tasks' (unknown location)",
        ),
        ("x = 1 / 0", "2: ZeroDivisionError: division by zero"),
        ("def", "2: SyntaxError: invalid syntax"),
        ("import nowhere_at_all", "2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_a_wrong_task_is_told_with_file_line_and_near_match(
    files: Files, text: str, told: str
) -> None:
    """Before any worker starts; the decorator stands in line 2 of these files."""
    files.write(tasks__a=HEAD + text)

    assert files.problems() == [f"tasks/a.py:{told}"]


CHECKING = """
    from __future__ import annotations
    from dataclasses import dataclass
    from typing import TYPE_CHECKING
    from resqpy import task
    if TYPE_CHECKING:
        from decimal import Decimal
"""


def test_a_name_that_only_type_checkers_know_is_told(files: Files) -> None:
    """Of an input, and of a field, with the file in which it stands."""
    remedy = (
        "name 'Decimal' is not defined; make it a name of the module at run time: import it outside "
        "`if TYPE_CHECKING:`, and define it outside functions"
    )
    root = files.write(
        models=CHECKING + "\n    @dataclass\n    class Item:\n        prices: list[Decimal]\n",
        tasks__a=CHECKING + "\n    @task\n    def a(x: Decimal): 'A.'\n",
        tasks__b="""
        from __future__ import annotations
        from models import Item
        from resqpy import task
        @task
        def b(items: list[Item]): "B."
        """,
    )

    assert files.problems() == [
        f"tasks/a.py:10: task a: the type hint 'Decimal' of input 'x' can't be read: {remedy}",
        (
            "tasks/b.py:6: task b: input 'items' can't be converted: the annotation 'list[Decimal]' of "
            f"Item.prices can't be read: {remedy} ({root}/models.py)"
        ),
    ]


def test_unknown_plugins_and_options_are_refused(files: Files) -> None:
    """With the line of the property and the nearest name."""
    files.write(
        tasks__a="""
        from resqpy import task

        @task(
            plugins=["QueueLokc"],
        )
        def a(): "A."

        @task(
            plugins=["Retry"],
            plugin_options={"Retry": {"retry_limt": 1}},
        )
        def b(): "B."

        @task(
            plugins=["Retry"],
            plugin_options={"Retyr": {}},
        )
        def c(): "C."
        """
    )
    found = files.problems()

    assert [each.partition(": ")[0] for each in found] == [
        "tasks/a.py:5",
        "tasks/a.py:11",
        "tasks/a.py:17",
    ]
    for problem, near in zip(found, ("QueueLock", "retry_limit", "Retry"), strict=True):
        assert f"did you mean '{near}'?" in problem


def test_two_tasks_of_one_name_are_refused(files: Files) -> None:
    """The second is told where the first is."""
    files.write(
        tasks__a="from resqpy import task\n\n@task('same')\ndef a(): 'A.'\n",
        tasks__b="from resqpy import task\n\n\n@task('same')\ndef b(): 'B.'\n",
    )

    assert files.problems() == [
        "tasks/b.py:5: there is already a task 'same', in tasks/a.py:4",
    ]


def test_a_helpers_error_is_told_with_its_own_line(files: Files) -> None:
    """The task's file that led there, and the line in the helper where it happened."""
    files.write(
        lib__broken="def f():\n    raise ValueError('no')\n\nf()\n",
        lib__unreadable="x = = 1\n",
        tasks__a="from lib import broken\n",
        tasks__b="from lib import unreadable\n",
    )

    assert files.problems() == [
        "tasks/a.py:1: ValueError: no (in lib/broken.py:2)",
        "tasks/b.py:1: SyntaxError: invalid syntax (in lib/unreadable.py:1)",
    ]


def test_one_task_may_have_two_names_in_its_file(files: Files) -> None:
    """It is one task all the same; and `@task` needs no parentheses."""
    files.write(tasks__a=HEAD + "@task\ndef a(): 'A.'\n\nother = a\n")
    project = files.load()

    assert (project.errors, list(project.registry.tasks)) == ((), ["a"])


def test_parts_that_nobody_would_call_are_refused(files: Files) -> None:
    """Plugins and initializers whose methods are misspelled, or whose names are taken."""
    files.write(
        plugins__a="from resqpy import Plugin\nclass A(Plugin):\n    def before_perfrom(self): ...",
        plugins__b="from resqpy import Plugin\nclass B(Plugin): ...",
        plugins__c="from resqpy import Plugin\nclass B(Plugin): ...",
        initializers__a="from resqpy import Initializer\nclass A(Initializer):\n    def strat(self): ...",
        initializers__b="from resqpy import Initializer\nclass B(Initializer):\n    load_priority = 'x'",
        initializers__c="from resqpy import Initializer\nclass C(Initializer):\n    def restart(self): ...",
    )

    assert files.problems() == [
        "plugins/a.py:2: plugin 'A' has 'before_perfrom'; did you mean 'before_perform'?",
        "plugins/c.py:2: there is already a plugin 'B'",
        "initializers/a.py:2: initializer 'a' has 'strat'; did you mean 'start'?",
        "initializers/b.py:2: initializer 'b': load_priority is 'x', not a number",
    ]


def test_all_problems_of_a_project_are_told_together(files: Files) -> None:
    """A person corrects them in one go."""
    files.write(
        config__tasks="def default(): return {'timout': 1}",
        tasks__a="def",
        tasks__b="from resqpy import Task\nclass B(Task):\n  retry = 'x'\n",
    )
    found = files.problems()

    assert len(found) == 4
    assert [each.split(":")[0] for each in found] == [
        "config/tasks.py", "tasks/a.py", "tasks/b.py", "tasks/b.py",
    ]  # fmt: skip


def test_the_decorators_properties_are_those_of_the_class() -> None:
    """Whatever a class can say, `@task` can; and no default differs."""
    made = task()(lambda: None)

    assert tuple(made.properties) == PROPERTIES
    assert {name: getattr(Task, name) for name in PROPERTIES} == made.properties


def test_a_decorated_function_can_still_be_called() -> None:
    """For tests and for other code."""

    @task(frequency=timedelta(seconds=1))
    def add(a: int, b: int) -> int:
        """I add."""
        return a + b

    assert add(1, b=2) == 3
    assert add.__doc__ == "I add."


def test_a_projects_own_plugin_is_known_by_its_name(files: Files) -> None:
    """A class in `plugins/`, by name, by class and by dotted path."""
    files.write(
        plugins__shout="""
        from resqpy import Plugin

        class Shout(Plugin):
            option_names = frozenset({"loud"})

            async def before_enqueue(self, job):
                return True
        """,
        lib__more="from resqpy import Plugin\nclass More(Plugin): ...",
        tasks__a="""
        from resqpy import task

        @task(plugins=["Shout", "lib.more.More"], plugin_options={"Shout": {"loud": 1}})
        def a(): "A."
        """,
    )
    project = files.load()

    assert project.errors == ()
    plugins = project.registry.definitions["a"].plugins
    assert [type(each).__name__ for each in plugins] == ["Shout", "More"]
    assert all(isinstance(each, Plugin) for each in plugins)


def test_inputs_by_their_places_have_keys_of_rubys(files: Files) -> None:
    """As a task without any, whose jobs Ruby may enqueue."""
    options = "plugins=['JobLock'], plugin_options={'JobLock': {'keys': 'ruby'}}"
    files.write(
        tasks__a=f"{HEAD}@task({options})\ndef a(): 'A.'\n@task({options})\ndef b(c, /): 'B.'"
    )

    assert files.problems() == []


def test_an_empty_list_of_plugin_options_is_none(files: Files) -> None:
    """ActionHero's own examples have it."""
    files.write(tasks__a="from resqpy import task\n@task(plugin_options=[])\ndef a(): 'A.'")
    project = files.load()

    assert project.errors == ()
    assert project.registry.tasks["a"].plugin_options == {}

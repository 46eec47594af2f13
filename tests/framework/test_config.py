"""The config: merged, checked, frozen, with the origin of each value."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path

import pytest

from resqpy.base.masking import masked
from resqpy.framework.config.config import Config, environment_of, load_config
from resqpy.framework.config.merge import KNOWN, variable_of
from resqpy.framework.project.problems import ProjectErrors
from tests.framework.conftest import Files


def load(root: Path, env: str = "development", **environ: str) -> Config:
    """Load the config of a folder."""
    return load_config(root, env, environ=environ)


def test_without_files_all_is_default(tmp_path: Path) -> None:
    """A folder without a config has the defaults, and says so."""
    config = load(tmp_path)

    assert config.tasks.timeout == 5000
    assert config.tasks.queues == ("*",)
    assert {each.origin for each in config.settings} == {"default"}


def test_the_environments_function_wins_over_default(files: Files) -> None:
    """`production()` changes what `default()` says, in production only."""
    root = files.write(
        config__tasks="""
        def default():
            return {"timeout": 1000, "queues": ["a", "b"], "worker_logging": {"job": "info"}}

        def production():
            return {"timeout": 2000, "worker_logging": {"poll": None}}
        """
    )
    config = load(root, "production")

    assert (config.tasks.timeout, config.tasks.queues) == (2000, ("a", "b"))
    assert (config.tasks.worker_logging.job, config.tasks.worker_logging.poll) == ("info", None)
    assert load(root).tasks.timeout == 1000
    assert config.origin("tasks.timeout") == "config/tasks.py production()"
    assert config.origin("tasks.queues") == "config/tasks.py default()"
    assert config.origin("tasks.check_timeout") == "default"


def test_variables_win_over_files_and_flags_over_all(files: Files) -> None:
    """Flag beats environment variable beats file beats default, and the origin is told."""
    root = files.write(
        config__tasks="""
        def default():
            return {"timeout": 1, "check_timeout": 1, "stop_timeout": 1}
        """
    )
    config = load_config(
        root,
        "production",
        {"tasks.timeout": 3, "tasks.queues": None},
        environ={"RESQPY_TASKS_TIMEOUT": "2", "RESQPY_TASKS_CHECK_TIMEOUT": "2s"},
    )

    assert config.tasks.timeout == 3
    assert config.tasks.check_timeout == 2000
    assert config.tasks.stop_timeout == 1
    assert config.origin("tasks.timeout") == "command line"
    assert config.origin("tasks.check_timeout") == "environment RESQPY_TASKS_CHECK_TIMEOUT"


def test_the_test_environment_is_quick(tmp_path: Path) -> None:
    """As in ActionHero, tests wait less; the origin says whence that comes."""
    config = load(tmp_path, "test")

    assert (config.tasks.timeout, config.tasks.check_timeout) == (100, 50)
    assert config.origin("tasks.timeout") == "default in test"


def test_config_files_shadow_no_package(files: Files) -> None:
    """A `config/redis.py` may import the package `redis`, and leaves it where it was."""
    root = files.write(
        config__redis="""
        import redis

        def default():
            return {"namespace": redis.__name__}
        """
    )
    before = sys.modules.get("redis")

    assert load(root).redis.namespace == "redis"
    assert sys.modules["redis"] is (before or sys.modules["redis"])
    assert hasattr(sys.modules["redis"], "Redis")


def test_everything_wrong_is_told_at_once_with_file_line_and_near_match(files: Files) -> None:
    """Unknown keys, wrong types, broken files and misspelled environments: one list."""
    root = files.write(
        config__tasks="""
        def default():
            return {
                "timout": 100,
                "check_timeout": "soon",
                "worker_logging": {"sucess": "info", "failure": "loud"},
            }

        def prodcution():
            return {}
        """,
        config__task="def default(): return {}",
        config__logger="def default(): return 1 / 0",
        config__redis="import nothing_of_that_name",
    )
    with pytest.raises(ProjectErrors) as raised:
        load(root)

    told = [str(each) for each in raised.value.problems]
    assert told == [
        "config/logger.py:1: ZeroDivisionError: division by zero",
        "config/redis.py:1: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        (
            "config/tasks.py:9: prodcution() is for an unknown environment;"
            " did you mean 'production'?"
        ),
        "config/task.py: there is no config section 'task'; did you mean 'tasks'?",
        "config/tasks.py:4: unknown setting 'tasks.timout'; did you mean 'tasks.timeout'?",
        (
            "config/tasks.py:5: tasks.check_timeout: 'soon' is not a duration: milliseconds, or a number"
            " with ms, s, m, h or d"
        ),
        (
            "config/tasks.py:6: unknown setting 'tasks.worker_logging.sucess'; did you mean"
            " 'tasks.worker_logging.success'?"
        ),
        (
            "config/tasks.py:6: tasks.worker_logging.failure: 'loud' is not a log level"
            " (debug, info, warning, error, critical)"
        ),
    ]
    assert str(raised.value).startswith("8 problems in this project:\n")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"RESQPY_TASKS_TIMOUT": "1"},
            "unknown environment variable RESQPY_TASKS_TIMOUT; did you mean 'RESQPY_TASKS_TIMEOUT'?",
        ),
        ({"COUNT": "many"}, "environment variable COUNT: 'many' is not a whole number above 0"),
        (
            {"RESQPY_TASKS_SCHEDULER": "perhaps"},
            (
                "environment variable RESQPY_TASKS_SCHEDULER: 'perhaps' is not yes or no"
                " (1, true, yes, on; 0, false, no, off)"
            ),
        ),
        (
            {"RESQPY_REDIS_PASSWORD_FILE": "/nowhere"},
            (
                "environment variable RESQPY_REDIS_PASSWORD_FILE:"
                " [Errno 2] No such file or directory: '/nowhere'"
            ),
        ),
        (
            {"RESQPY_TASKS_MIN_TASK_PROCESSORS": "5", "RESQPY_TASKS_MAX_TASK_PROCESSORS": "2"},
            (
                "tasks.min_task_processors is 5 (environment RESQPY_TASKS_MIN_TASK_PROCESSORS), more than"
                " tasks.max_task_processors, which is 2 (environment RESQPY_TASKS_MAX_TASK_PROCESSORS)"
            ),
        ),
    ],
)
def test_wrong_variables_are_refused(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    """A variable that is misspelled or can't be read is an error that names it."""
    with pytest.raises(ProjectErrors) as raised:
        load(tmp_path, **environ)

    assert [each.message for each in raised.value.problems] == [words]


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("QUEUE", "mail", "tasks.queues", ("mail",)),
        ("QUEUES", "high, low,!slow", "tasks.queues", ("high", "low", "!slow")),
        ("QUEUES", "high=6, low=3", "tasks.queues", ("high=6", "low=3")),
        ("COUNT", "4", "process.processes", 4),
        ("INTERVAL", "0.5", "tasks.timeout", 500),
        ("INTERVAL", "250ms", "tasks.timeout", 250),
        ("INTERVAL", "0", "process.burst", True),
        ("PIDFILE", "/run/resqpy.pid", "process.pidfile", "/run/resqpy.pid"),
        ("BACKGROUND", "yes", "process.daemon", True),
        ("VERBOSE", "1", "logger.level", "info"),
        ("LOGGING", "1", "logger.level", "info"),
        ("VVERBOSE", "1", "logger.level", "debug"),
        ("QUIET", "1", "logger.level", "warning"),
        ("LOG_LEVEL", "notice", "logger.level", "info"),
        ("LOGFORMAT", "json", "logger.format", "json"),
        ("LOGFILE", "/var/log/resqpy", "logger.file", "/var/log/resqpy"),
        ("REDIS_URL", "redis://h:1/2", "redis.url", "redis://h:1/2"),
        ("REDIS_HOST", "h", "redis.host", "h"),
        ("REDIS_PORT", "7000", "redis.port", 7000),
        ("REDIS_DB", "3", "redis.db", 3),
        ("REDIS_PASSWORD", "s", "redis.password", "s"),
        ("REDIS_SSL", "true", "redis.ssl", True),
        ("RESQUE_TERM_TIMEOUT", "4", "tasks.stop_timeout", 4000),
        ("RESQUE_PRE_SHUTDOWN_TIMEOUT", "6", "tasks.stop_timeout", 6000),
        ("RESQUE_SCHEDULER_INTERVAL", "1.5", "scheduler.timeout", 1500),
        ("LOCK_TIMEOUT", "60", "scheduler.foreign_lock_ttl", 60_000),
        ("RESQUE_SCHEDULER_MASTER_LOCK_PREFIX", "p", "scheduler.ruby_lock_prefix", "p"),
        ("RAILS_ENV", "production", "scheduler.ruby_env", "production"),
        ("APP_NAME", "shop", "general.name", "shop"),
    ],
)
def test_historic_names_are_accepted(
    tmp_path: Path, variable: str, text: str, path: str, value: object
) -> None:
    """Resque's and ActionHero's environment variables mean what they always meant."""
    config = load(tmp_path, "production", **{variable: text})
    section, _, name = path.partition(".")

    assert getattr(getattr(config, section), name) == value
    assert config.origin(path) == f"environment {variable}"


def test_relative_paths_in_config_begin_at_the_project(files: Files) -> None:
    """Wherever a process is started; those in a variable begin where it is started, as in a shell."""
    root = files.write(
        config__process="""
        def default():
            return {"pidfile": "run/worker.pid"}
        """,
        config__logger="""
        def default():
            return {"file": "/var/log/demo"}
        """,
    )

    config = load(root)

    assert config.process.pidfile == str(root / "run" / "worker.pid")
    assert config.logger.file == "/var/log/demo"
    assert load(root, PIDFILE="worker.pid").process.pidfile == "worker.pid"


def test_a_misspelled_environment_is_refused(files: Files) -> None:
    """It would run with the settings of none; one that resembles no usual one may have none."""
    with pytest.raises(ProjectErrors, match=r"function prodcution\(\); did you mean 'production'"):
        load(files.root, "prodcution")
    assert load(files.root, "blue").environment == "blue"


def test_our_names_win_over_historic_ones(tmp_path: Path) -> None:
    """RESQPY_TASKS_QUEUES counts more than QUEUES; an empty historic one counts as not set."""
    config = load(tmp_path, QUEUES="a", RESQPY_TASKS_QUEUES="b", INTERVAL="")

    assert config.tasks.queues == ("b",)
    assert config.process.burst is False


def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    """A password's variable with _FILE names a file; listings show no secret."""
    secret = tmp_path / "password"
    secret.write_text("tiger\n")
    config = load(
        tmp_path, RESQPY_REDIS_PASSWORD_FILE=str(secret), RESQPY_REDIS_URL="redis://u:p@h"
    )

    assert config.redis.password == "tiger"
    shown = {each.path: each.shown() for each in config.settings}
    assert (shown["redis.password"], shown["redis.url"]) == ("***", "'redis://u:***@h'")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("url", "redis://:p@h", "redis://:***@h"),
        ("url", "redis://u:p/w@x:y@h:1/2", "redis://u:***@h:1/2"),
        ("url", "redis://u@h", "redis://u@h"),
        ("url", "redis://h?password=p&db=1", "redis://h?password=***&db=1"),
        ("mail_password", "p", "***"),
        ("api_key", 5.5, 5.5),
        ("options", {"password": "p", "host": ["amqp://u:p@h"]},
         {"password": "***", "host": ["amqp://u:***@h"]}),
        ("secret", None, None),
    ],
)  # fmt: skip
def test_secrets_are_masked_wherever_they_stand(name: str, value: object, shown: object) -> None:
    """By their names, at any depth, and in URLs."""
    assert masked(name, value) == shown


def test_a_secret_that_is_wrong_is_not_told(tmp_path: Path) -> None:
    """Its variable is."""
    with pytest.raises(ProjectErrors) as raised:
        load(tmp_path, RESQPY_REDIS_SENTINEL_OPTIONS="tiger")

    assert [each.message for each in raised.value.problems] == [
        "environment variable RESQPY_REDIS_SENTINEL_OPTIONS: its value is not a dict"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "async def default(): return {}",
            (
                "1: default() is async, but the config is read before anything runs;"
                " make it a plain function"
            ),
        ),
        (
            "def default(api): return {}",
            "1: default() takes api, but gets nothing; import `api`",
        ),
        (
            "def default(): return {'tasks': {}}",
            "1: unknown setting 'tasks.tasks'; the file is the section: return its settings themselves",
        ),
        (
            "def default(): return {'workerLogging': {}}",
            "1: unknown setting 'tasks.workerLogging'; did you mean 'tasks.worker_logging'?",
        ),
        (
            "def default(): return {'worker_logging': {'reEnqueue': None}}",
            (
                "1: unknown setting 'tasks.worker_logging.reEnqueue';"
                " did you mean 'tasks.worker_logging.re_enqueue'?"
            ),
        ),
        (
            "def default(): return {'sentinel_service': 'x'}",
            "1: unknown setting 'tasks.sentinel_service'; did you mean 'redis.sentinel_service'?",
        ),
        ("raise SystemExit(1)", "1: SystemExit: it calls sys.exit(1) while it is loaded"),
    ],
)
def test_a_wrong_config_file_is_told(files: Files, text: str, told: str) -> None:
    """With its line, and what to do; as ActionHero's users would write it, too."""
    root = files.write(config__tasks=text)
    with pytest.raises(ProjectErrors) as raised:
        load(root)

    assert [str(each) for each in raised.value.problems] == [f"config/tasks.py:{told}"]


def test_a_configs_function_may_be_imported(files: Files) -> None:
    """Projects share what they have in common."""
    root = files.write(
        lib__shared="def default(): return {'timeout': 7}",
        config__tasks="import sys\nsys.path.append(str(__import__('pathlib').Path(__file__).parents[1]))\n"
        "from lib.shared import default",
    )

    assert load(root).tasks.timeout == 7


def test_resqpy_config_names_other_folders(files: Files) -> None:
    """RESQPY_CONFIG replaces `config/` by one or several folders, and actually works."""
    root = files.write(
        config__tasks="def default(): return {'timeout': 1}",
        one__tasks="def default(): return {'timeout': 2, 'check_timeout': 2}",
        two__tasks="def default(): return {'timeout': 3}",
    )
    config = load(root, RESQPY_CONFIG="one, two")

    assert (config.tasks.timeout, config.tasks.check_timeout) == (3, 2)
    assert load(root, RESQPY_CONFIG="").tasks.timeout not in (1, 2, 3)
    with pytest.raises(ProjectErrors, match=r"RESQPY_CONFIG: .*three"):
        load(root, RESQPY_CONFIG="three")


def test_a_project_has_sections_of_its_own(files: Files) -> None:
    """Another file is a section for user code, with variables by the type of its default."""
    root = files.write(
        config__mail="""
        def default():
            return {"host": "localhost", "port": 25, "tls": False, "to": ["a"]}

        def production():
            return {"tls": True}
        """
    )
    config = load(root, "production", RESQPY_MAIL_PORT="587", RESQPY_MAIL_TO="x,y")

    assert config.mail.host == "localhost"
    assert dict(config.mail) == {"host": "localhost", "port": 587, "tls": True, "to": ["x", "y"]}
    assert config.origin("mail.tls") == "config/mail.py production()"
    with pytest.raises(AttributeError, match="'mail' has no 'prot'"):
        _ = config.mail.prot
    with pytest.raises(AttributeError, match="no config section 'mial'"):
        _ = config.mial


def test_dicts_of_an_own_section_are_merged(files: Files) -> None:
    """As in ActionHero; each value in them has its origin and its variable."""
    root = files.write(
        config__mail="""
        def default():
            return {"limits": {"day": 10, "hour": 1}, "password": "tiger"}

        def production():
            return {"limits": {"hour": 2}}
        """
    )
    config = load(root, "production", RESQPY_MAIL_LIMITS_DAY="20")

    assert config.mail.limits == {"day": 20, "hour": 2}
    assert config.origin("mail.limits.hour") == "config/mail.py production()"
    assert config.origin("mail.limits.day") == "environment RESQPY_MAIL_LIMITS_DAY"
    assert next(each.shown() for each in config.settings if each.path == "mail.password") == "***"
    with pytest.raises(ProjectErrors, match=r"RESQPY_MAIL_LIMITS_DAY: 'x' is not a whole number"):
        load(root, RESQPY_MAIL_LIMITS_DAY="x")


def test_an_environment_can_only_change_what_default_has(files: Files) -> None:
    """A key of a project's own section that only `production()` knows is a typing error."""
    root = files.write(
        config__mail="""
        def default():
            return {"host": "localhost"}

        def production():
            return {"hots": "mail"}
        """
    )
    with pytest.raises(
        ProjectErrors, match=r"config/mail.py:6: default\(\) has no 'hots', .*'host'"
    ):
        load(root, "production")


def test_the_config_is_frozen(tmp_path: Path) -> None:
    """Nobody changes it while a process runs."""
    config = load(tmp_path)

    with pytest.raises(FrozenInstanceError):
        config.tasks.timeout = 1  # type: ignore[misc]  # that is the point


def test_a_timedelta_is_taken_too(files: Files) -> None:
    """Where milliseconds are meant, a timedelta is as good."""
    root = files.write(
        config__tasks="""
        from datetime import timedelta

        def default():
            return {"timeout": timedelta(seconds=2)}
        """
    )

    assert load(root).tasks.timeout == timedelta(seconds=2) / timedelta(milliseconds=1)


def test_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESQPY_ENV; else test under pytest; else development."""
    assert environment_of({"RESQPY_ENV": "staging"}) == "staging"
    assert environment_of({}) == "test"
    monkeypatch.delitem(sys.modules, "pytest")
    assert environment_of({}) == "development"


def test_each_setting_has_a_variable_of_its_own() -> None:
    """No two settings share an environment variable, and each has words for people."""
    variables = [variable_of(path) for path in KNOWN]

    assert len(set(variables)) == len(variables)
    assert [path for path, option in KNOWN.items() if len(option.words) < 10] == []


def test_every_default_is_what_its_kind_allows() -> None:
    """A default that a user could not have written would be a trap."""
    for path, option in KNOWN.items():
        assert option.kind.check(option.default) == option.default, path

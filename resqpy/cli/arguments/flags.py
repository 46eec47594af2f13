"""Options: each has an equivalent environment variable, shown in the help.

A flag takes precedence over the environment, which takes precedence over the files of `config/`. Options
that correspond to a setting are read by the config (so they have its variables, including historic ones);
the others by click, as RESQPY_<COMMAND>_<OPTION>.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import UsageError
from resqpy.base.when import parse_duration, whole_number
from resqpy.cli.arguments.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class CommandOption(click.Option):
    """An option whose help ends with its environment variables.

    Args:
        setting: the path of the setting that it overrides.
    """

    def __init__(self, names: Sequence[str], *, setting: str | None = None, **more: Any) -> None:
        if setting is not None:
            more = {"allow_from_autoenv": False, "expose_value": False, "default": None, **more}
            more["callback"] = self._keep
        super().__init__(names, **more)
        self.setting = setting

    def _keep(self, ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None and self.setting is not None:
            ctx.ensure_object(Settings).override(
                self.setting, value=value, flag=max(self.opts, key=len)
            )

    def variables(self, ctx: click.Context) -> list[str]:
        """Its environment variables, in order of precedence."""
        if self.setting is not None:
            from resqpy.framework.config.merge import KNOWN, variable_of

            return [variable_of(self.setting), *(h.name for h in KNOWN[self.setting].historic)]
        if isinstance(self.envvar, str):
            return [self.envvar]
        if self.allow_from_autoenv and ctx.auto_envvar_prefix and self.name:
            return [f"{ctx.auto_envvar_prefix}_{self.name.upper()}"]
        return []

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """An invalid value from a variable is reported as the variable's, because it may be set elsewhere."""
        try:
            return super().handle_parse_result(ctx, opts, args)
        except click.BadParameter as error:
            source = ctx.get_parameter_source(self.name or "")
            if source is ParameterSource.ENVIRONMENT:
                error.param_hint = f"the variable {self.variables(ctx)[0]}"
            raise

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        variables = self.variables(ctx)
        if record is None or not variables:
            return record
        return record[0], f"{record[1]}  [{', '.join(variables)}]"


def option(*names: str, **more: Any) -> Callable[[F], F]:
    """An option of a command."""
    return click.option(*names, cls=CommandOption, **more)


def options(*several: Decorator) -> Decorator:
    """Several options or arguments as one decorator, in the order of the help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(several):
            function = each(function)
        return function

    return decorate


def setting(path: str, *names: str, **more: Any) -> Callable[[F], F]:
    """An option that overrides a setting of the config."""
    return option(*names, setting=path, **more)


def flag(path: str, *names: str, **more: Any) -> Callable[[F], F]:
    """A boolean option that overrides a setting of the config."""
    return setting(path, *names, is_flag=True, **more)


# -- the shared options --


def _set(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(ctx.ensure_object(Settings), attribute, value)

    return callback


def _shared(*names: str, to: str, variable: str, **more: Any) -> CommandOption:
    return CommandOption(
        names,
        callback=_set(to),
        expose_value=False,
        envvar=variable,
        default=None,
        **more,
    )


def shared_options() -> list[CommandOption]:
    """New ones for one command: project, Redis, display of errors."""
    return [
        _shared("--root", "-C", to="root", variable="RESQPY_ROOT",
                type=click.Path(path_type=Path, exists=True, file_okay=False),
                metavar="DIR", help="The project's directory (default: this one or above)."),
        _shared("--app", "-A", to="app", variable="RESQPY_APP", metavar="MODULES",
                help="Modules with tasks, with commas, as myapp.jobs or 'myapp.*.tasks' (default: those of "
                "[tool.resqpy], else tasks/)."),
        _shared("--env", "-e", to="environment", variable="RESQPY_ENV", metavar="NAME",
                help="The config environment (default: development)."),
        CommandOption(["--redis", "-r"], setting="redis.url", metavar="URL",
               help="Use this Redis instead of the config's: redis://, rediss:// or unix://."),
        CommandOption(["--namespace", "-N"], setting="redis.namespace", metavar="NAME",
               help="Prefix of every Redis key (default: resque)."),
        _shared("--debug", to="debug", variable="RESQPY_DEBUG", is_flag=True,
                help="Show tracebacks."),
    ]  # fmt: skip


def json_option() -> CommandOption:
    """`--json`."""
    return _shared("--json", to="json", variable="RESQPY_JSON", is_flag=True,
                   help="Print JSON, for programs.")  # fmt: skip


def yes_option() -> CommandOption:
    """`--yes`."""
    return _shared("--yes", "-y", to="yes", variable="RESQPY_YES", is_flag=True,
                   help="Don't ask.")  # fmt: skip


# The types of options and arguments: times, durations, JSON, and pairs.


class Type(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """The type of an option or argument, parsed by a function that raises `ValueError` with what is wrong."""

    def __init__(self, name: str, read: Callable[[Any], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _with_unit(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text) and text.strip("0."):
        raise ValueError(f"{text} has no unit; use {text}s or {text}ms")
    return text


def _pair(value: Any) -> tuple[str, str]:
    if isinstance(value, tuple):
        return value
    name, _, kind = str(value).partition(":")
    if not name.isidentifier():
        raise ValueError(f"{name!r} is not a parameter name")
    return name, kind or "str"


def _moment(value: Any) -> datetime | int:
    text = str(value).strip()
    if (number := whole_number(text)) is not None:
        return number
    if text.lower() == "now":
        return SYSTEM_CLOCK.now_ms()
    with suppress(UsageError):
        if sign := {"+": 1, "-": -1}.get(text[:1]):
            return SYSTEM_CLOCK.now_ms() + sign * parse_duration(text[1:])
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.astimezone()
    raise ValueError(
        f"{text!r} is not a time; use one such as 2030-01-31T12:00, …+01:00, now, +1d or -2h"
    )


def _span(value: Any) -> tuple[datetime | int | None, ...]:
    since, dots, until = str(value).partition("..")
    if not dots or not (since.strip() or until.strip()):
        raise ValueError(f"{value!r} is not FROM..TO; use one such as -1d..now, or 2030-01-31..")
    return tuple(_moment(each) if each.strip() else None for each in (since, until))


def _json(value: Any) -> Any:
    from resqpy.base.codec import decode_text

    if not isinstance(value, str):
        return value
    text = sys.stdin.read() if value == "-" else value
    try:
        found = decode_text(text)
    except ValueError as error:
        raise ValueError(f"this is not JSON: {error} (in a shell: '{{\"name\": 1}}')") from error
    if not isinstance(found, (dict, list)):
        raise ValueError(f"{text} is neither an object nor a list")  # noqa: TRY004 - as above
    return found


# A duration with a mandatory unit: Resque's INTERVAL is in seconds, our config in milliseconds.
WITH_UNIT = Type("duration", _with_unit)
# A duration: `5s`, `10m`, `2h`, `+1d`, or milliseconds.
MILLISECONDS = Type("duration", lambda value: parse_duration(str(value).strip().removeprefix("+")))
# ISO 8601 (without a zone: the local one), `now`, `+1d`, `-2h`, or milliseconds since the epoch.
MOMENT = Type("time", _moment)
# A half-open period, `-1d..now`; either end may be omitted.
SPAN = Type("span", _span)
# An object or a list; `-` reads it from standard input.
JSON = Type("json", _json)
# `name:type`, for `generate task --input`.
PAIR = Type("name:type", _pair)


def read_pairs(words: Sequence[str], form: str, known: Iterable[str] = ()) -> dict[str, str]:
    """The values by key.

    Args:
        form: the expected form, for the message.
        known: keys that were given in another way.

    Raises:
        click.UsageError: a word is not a pair, or a key is given twice.
    """
    taken, found = set(known), dict[str, str]()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{word!r} is not {form}")
        if key in taken:
            raise click.UsageError(f"{key!r} is given twice")
        taken.add(key)
        found[key] = value
    return found


def json_or_text(text: str) -> Any:
    """A word as JSON; the word itself if it is not JSON."""
    from resqpy.base.codec import decode_text

    try:
        return decode_text(text)
    except ValueError:
        return text


def task_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Task names with a prefix. Output of the project's files is not for the shell, and a broken project
    offers no names: a command will report what is wrong with it.
    """
    from resqpy.framework.project.project import Project

    if ctx.params.get("inputs"):  # the name is complete; inputs follow
        return []
    settings = ctx.ensure_object(Settings)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        project = Project.load(settings.root, settings.environment, tasks=settings.modules)
    return [name for name in sorted(project.registry.tasks) if name.startswith(incomplete)]

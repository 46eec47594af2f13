"""Options: each has an equivalent environment variable, shown in the help.

A flag takes precedence over the environment, which takes precedence over the files of `config/`. Options
that correspond to a setting are read by the config (so they have its variables, including historic ones);
the others by click, as RESQPY_<COMMAND>_<OPTION>.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

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

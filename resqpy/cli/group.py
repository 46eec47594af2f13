"""Commands and groups of commands that are imported only when called."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import click

from resqpy.base.imports import import_dotted, near_match
from resqpy.cli.arguments.flags import json_option, shared_options, yes_option


class Entry(NamedTuple):
    """The location of a command, and its line in the help without importing it.

    Attributes:
        path: `module:name` below `resqpy.cli.commands`.
        section: its heading in the help; "" hides it.
    """

    path: str
    words: str
    section: str


class LazyGroup(click.Group):
    """A group whose commands are imported when called.

    Args:
        entries: by name, in the order of the help.
    """

    def __init__(self, *args: Any, entries: Mapping[str, Entry] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.entries: dict[str, Entry] = dict(entries or {})
        self.elsewhere: dict[str, str] = {}  # by words that are no commands, what is meant

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        found: click.Command = import_dotted(f"resqpy.cli.commands.{entry.path}")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            hint = self.elsewhere.get(args[0]) or near_match(args[0], known)
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)  # the parser removes words
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            self._refuse_early(ctx, given, error.option_name)
            raise

    def _refuse_early(self, ctx: click.Context, args: list[str], option: str) -> None:
        """Report an option that stands before the command it belongs to."""
        known = self.list_commands(ctx)
        begin = next((n for n, word in enumerate(args) if word in known), len(args))
        target = _target(self, ctx, args[begin:])
        if any(option in (*each.opts, *each.secondary_opts) for each in target.params):
            right = shlex.join(args[begin:] + args[:begin])
            raise click.UsageError(
                f"{option} goes after the command: {ctx.command_path} {right}", ctx
            )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            if entry.section:
                sections.setdefault(entry.section, []).append((name, entry.words))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)
        own = [(name, self.commands[name]) for name in super().list_commands(ctx)]
        if own:
            with formatter.section("Commands"):
                formatter.write_dl([(name, each.get_short_help_str(80)) for name, each in own])


class Command(click.Command):
    """A command with the shared options.

    Args:
        json: whether it has `--json`.
        destroys: whether it has `--yes`.
        project: whether it uses a project and its Redis.
    """

    def __init__(
        self,
        *args: Any,
        json: bool = True,
        destroys: bool = False,
        project: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        if destroys:
            self.params.append(yes_option())
        if json:
            self.params.append(json_option())
        shared = shared_options()
        self.params += shared if project else shared[-1:]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "extra argument" in error.message and ".py" in error.message:
                words = "; modules with tasks are named by -A, as -A myapp.jobs"
                raise click.UsageError(error.message + words, ctx) from None
            raise


class Group(LazyGroup):
    """A group of commands; without a command's name, `default` runs.

    Args:
        default_takes_words: a first word that is not a command is an argument of the default.
        by_option: options that select another default command.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        default: str | None = None,
        default_takes_words: bool = False,
        by_option: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.default = default
        self._default_takes_words = default_takes_words
        self._by_option = by_option or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`resqpy failed --class Mail` is `resqpy failed list --class Mail`."""
        helps = set(ctx.help_option_names)
        completing = ctx.resilient_parsing
        if (
            self.default
            and not completing
            and not helps.intersection(args)
            and not self._names_command(ctx, args)
        ):
            self._refuse_flags_before_name(ctx, args)
            options = (word.partition("=")[0] for word in args)
            named = (self._by_option[each] for each in options if each in self._by_option)
            args = [next(named, self.default), *args]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.default:
            usual = f"{ctx.command_path} {self.default}"
            formatter.write(f"\nWithout a command: {self.default}. Its options: {usual} --help\n")

    def _refuse_flags_before_name(self, ctx: click.Context, args: list[str]) -> None:
        """`resqpy queues --json list`. After other options a command's name may be their value."""
        flags = {
            name
            for each in _target(self, ctx, []).params
            if isinstance(each, click.Option) and each.is_flag
            for name in each.opts
        }
        before = list(takewhile(flags.__contains__, args))
        named = set(args[len(before) : len(before) + 1]).intersection(self.list_commands(ctx))
        if before and named and not self._default_takes_words:
            self._refuse_early(ctx, args, before[0])

    def _names_command(self, ctx: click.Context, args: list[str]) -> bool:
        """Whether a command's name stands there; it may be misspelled, unless the default takes words."""
        if not args or args[0].startswith("-"):
            return False
        return not self._default_takes_words or args[0] in self.list_commands(ctx)


def _target(found: click.Command, ctx: click.Context, words: list[str]) -> click.Command:
    """The command below another one that some words select."""
    if not isinstance(found, click.Group):
        return found
    name = words[0] if words else None
    if name not in found.list_commands(ctx):
        name, words = getattr(found, "default", None), []
    below = found.get_command(ctx, name) if name else None
    return found if below is None else _target(below, ctx, words[1:])


def command(name: str | None = None, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """A command with the shared options."""
    return click.command(name, cls=Command, **more)

"""`config/logger.py`: what is logged, how it looks, and what must not be seen in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from resqpy.base.masking import SECRETS
from resqpy.framework.kinds import FILE_OR_NONE, FLAG, LEVEL, TEXTS, choice, whole
from resqpy.framework.options import Historic, option


def _when_set(level: str) -> Any:
    return lambda text: level if text.strip() not in {"", "0", "false", "no"} else None


@dataclass(frozen=True, kw_only=True)
class LoggerConfig:
    """The log."""

    IN_ENVIRONMENT: ClassVar[Mapping[str, Mapping[str, Any]]] = {"test": {"level": "warning"}}

    level: str = option(
        "info",
        LEVEL,
        "Lines below this level are not written (and cost next to nothing).",
        "LOG_LEVEL",
        Historic("VVERBOSE", _when_set("debug")),
        Historic("VERBOSE", _when_set("info")),
        Historic("LOGGING", _when_set("info")),
        Historic("QUIET", _when_set("warning")),
    )
    format: str = option(
        "auto",
        choice("auto", "console", "json"),
        "For people ('console') or machines ('json'); 'auto': people on a terminal.",
        "LOGFORMAT",
    )
    file: str | None = option(
        None, FILE_OR_NONE, "A file to append to; None: standard error.", "LOGFILE"
    )
    arguments: bool = option(
        False, FLAG, "Whether a job's line shows its inputs (filtered and shortened)."
    )
    filtered: tuple[str, ...] = option(
        SECRETS, TEXTS, "Values whose names contain one of these words are not shown."
    )
    max_string: int = option(
        100, whole(1, "a whole number above 0"), "Longer texts in inputs are cut."
    )
    max_items: int = option(
        10, whole(1, "a whole number above 0"), "Longer lists in inputs are cut."
    )

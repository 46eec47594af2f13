"""Who asks, and what they may do. One object, whether a session, an API token or the application around the
console says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match

READ, OPERATE, ADMIN = "read", "operate", "admin"
ENQUEUE, TASKS, METRICS = "enqueue", "tasks", "metrics"

# What each role may do, by scope. `tasks` includes `tasks:create` and the like.
_VIEWER = frozenset({READ, METRICS})
_OPERATOR = _VIEWER | {OPERATE, ENQUEUE, TASKS}
ROLES: dict[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "operator": _OPERATOR,
    "admin": _OPERATOR | {ADMIN},
}


@dataclass(frozen=True)
class Access:
    """Who asks, and what they may do.

    Args:
        who: their name, for the audit.
        role: `viewer` sees everything but arguments, `operator` also sees those, retries, removes, pauses and
            runs, `admin` also deletes and gives access.
        scopes: what they may do; None: what the role may.
        by: what says so: `session`, `token` or `application`.

    Raises:
        UsageError: there is no such role.
    """

    who: str
    role: str = "viewer"
    scopes: frozenset[str] | None = None
    by: str = "application"

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f"there is no role {self.role!r}{near_match(self.role, ROLES)}")

    def allows(self, scope: str) -> bool:
        """Whether it includes a scope; `tasks` includes `tasks:read`."""
        held = ROLES[self.role] if self.scopes is None else self.scopes
        # the name of a task comes last, and may have colons of its own: `Mail::Send`
        parts = scope.split(":", 2 if scope.startswith("tasks:") else 1)
        return any(":".join(parts[:length]) in held for length in range(1, len(parts) + 1))

"""The commands on tracked tasks, for the group `tracked` and for `resqpy task` beside its own."""

from __future__ import annotations

from resqpy.cli.group import Entry

SECTION = "Tracked tasks"

TRACKED = {
    "create": Entry("tracked:create", "Create a tracked task.", SECTION),
    "get": Entry("tracked:get", "Show all that is known of one.", SECTION),
    "list": Entry("tracked:list_", "Find tracked tasks, page by page.", SECTION),
    "cancel": Entry("tracked:cancel", "Cancel what has not started.", SECTION),
    "retry": Entry("tracked:retry", "Run now what waits, or what failed.", SECTION),
    "remove": Entry("tracked:remove", "Remove tasks in any state.", SECTION),
    "enable": Entry("tracked:enable", "Let a disabled task run again.", SECTION),
    "disable": Entry("tracked:disable", "Disable a task.", SECTION),
    "watch": Entry("tracked:watch", "Follow the changes of tasks as they happen.", SECTION),
}

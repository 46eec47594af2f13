"""`resqpy version`."""

from __future__ import annotations

import platform

from resqpy.base.imports import package_version
from resqpy.cli import output
from resqpy.cli.group import command


@command(project=False)
def version() -> None:
    """Show the versions of resqpy, Python and the Redis client."""
    versions = {
        "resqpy": package_version("resqpy"),
        "python": platform.python_version(),
        "redis-py": package_version("redis"),
    }
    if output.wants_json():
        output.json(versions)
    else:
        for name, number in versions.items():
            output.say(f"{name:<9} {number}")

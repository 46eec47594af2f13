"""`/api/v1`: the table of its endpoints."""

from __future__ import annotations

from typing import Any

from resqpy.web.api.document import document
from resqpy.web.api.endpoint import ApiEndpoint, Call
from resqpy.web.api.events import EVENTS
from resqpy.web.api.limits import LIMITS
from resqpy.web.api.reads import READS
from resqpy.web.api.tasks import TASKS
from resqpy.web.api.writes import WRITES

PREFIX = "/api/v1"


async def _openapi(call: Call) -> Any:
    return api_document(call.visit.url(PREFIX))


def api_document(base: str) -> dict[str, Any]:
    """The OpenAPI document."""
    return document(TABLE, base, "resqpy", "1")


TABLE = [
    *READS,
    *WRITES,
    *TASKS,
    *LIMITS,
    *EVENTS,
    ApiEndpoint(
        "GET", "/openapi.json", (), "This API as an OpenAPI document. Needs no token.", _openapi
    ),
]

"""The APIs as parts of the console, each below its path."""

from __future__ import annotations

from functools import partial

from resqpy.web.api import horizon, v1
from resqpy.web.api.endpoint import ApiParts
from resqpy.web.api.serving import HttpApi
from resqpy.web.visit import Visit


async def _parts(visit: Visit, defaults: str = "irontask") -> ApiParts:
    console = visit.console
    tracked = console.tracked(defaults)
    return ApiParts(console.resque, tracked, console.options.redaction, console.registry)


_as_horizon = partial(_parts, defaults="extra_horizon")
APIS = [
    HttpApi(v1.TABLE, _parts).area(v1.PREFIX),
    HttpApi(horizon.TABLE, _as_horizon, horizon.problem_body).area(horizon.PREFIX),
    HttpApi(horizon.SIGN_IN, _as_horizon, horizon.problem_body).area(
        horizon.SIGN_IN_PREFIX, writes=False
    ),
]

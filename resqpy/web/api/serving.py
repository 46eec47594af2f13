"""Serves a table of endpoints: what is asked, whether it may be, and the answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import Response

from resqpy.base import codec
from resqpy.base.errors import repr_of
from resqpy.web.access import Access
from resqpy.web.api.endpoint import Answer, ApiEndpoint, ApiParts, Call, Parameter
from resqpy.web.api.problems import KINDS, MEDIA_TYPE, ApiProblem, problem_of
from resqpy.web.api.schema import RequestFault, faults, from_text, nearest, with_integers
from resqpy.web.asking import MAX_BODY, SAFE, Refusal, as_asked, body_of, named
from resqpy.web.visit import Area, Endpoint, Visit

_SURROGATE = re.compile("[\ud800-\udfff]")
_log = logging.getLogger("resqpy")

METHODS = (
    "GET",
    "POST",
    "PATCH",
    "DELETE",
    "PUT",
    "OPTIONS",
)  # the last two only to say which there are

Body = Callable[[ApiProblem, str], Mapping[str, Any]]


def encoded(value: Any) -> bytes:
    """JSON of a value from Redis; what JSON or UTF-8 lacks is shown as text and as an escape."""
    try:
        text = codec.json_text(value)
    except ValueError:
        text = codec.json_text(_finite(value))
    return _SURROGATE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text).encode()


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {name: _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
    return value


class HttpApi:
    """Serves a table of endpoints below a path of the console.

    Args:
        table: the endpoints.
        parts: gives what they read and change.
        body: the body of a problem.
    """

    def __init__(
        self,
        table: Sequence[ApiEndpoint],
        parts: Callable[[Visit], Awaitable[ApiParts]],
        body: Body = ApiProblem.as_json,
    ) -> None:
        self.table = table
        self._parts = parts
        self._body = body

    def area(self, prefix: str, *, writes: bool = True) -> Area:
        """The part of the console below a path; which endpoint it is, and who may call it, is decided here."""
        endpoints = [
            Endpoint(
                f"{prefix}/{{rest:path}}",
                self.answer,
                method,
                None,
                writes=writes and method not in SAFE,
                for_programs=True,
            )
            for method in METHODS
        ]
        return Area(prefix, endpoints, self.refused)

    async def answer(self, visit: Visit) -> Response:
        """Answer a request."""
        try:
            return await self._answer(visit)
        except Refusal as refusal:
            return self.refused(visit, refusal)
        except Exception as error:
            problem = problem_of(as_asked(visit.request, error))
            if problem.kind == "internal":
                _log.error("the API failed to answer: %s", repr_of(error), exc_info=error)
            return self._told(visit, problem)

    def refused(self, visit: Visit, refusal: Refusal) -> Response:
        """The answer to a request that is refused."""
        kinds = {each.status: each.name for each in reversed(KINDS.values())} | {
            400: "wrong-request"
        }
        kind = kinds.get(refusal.status, "wrong-request")
        detail = f"{refusal.title}. {refusal.detail}".strip()
        return self._told(visit, ApiProblem(kind, detail, headers=refusal.headers))

    def _told(self, visit: Visit, problem: ApiProblem) -> Response:
        shown = self._body(problem, quote(visit.request.scope["path"]))
        return _response(shown, problem.status, problem.headers, MEDIA_TYPE)

    async def _answer(self, visit: Visit) -> Response:
        request = visit.request
        segments = request.path_params["rest"].split("/")
        if len(segments) > 1 and not segments[-1]:
            segments.pop()  # `/functions/` is `/functions`
        endpoint = self._endpoint(request.method, segments)
        _allow(visit.access, endpoint.scopes)
        values = _values(endpoint, request, segments)
        body = await _body(endpoint, request)
        call = Call(await self._parts(visit), visit, endpoint, values, body)
        made = await endpoint.handler(call)
        answer = made if isinstance(made, Answer) else Answer(made, endpoint.status)
        if answer.response is not None:
            return answer.response
        return _response(answer.value, answer.status, answer.headers)

    def _endpoint(self, method: str, segments: Sequence[str]) -> ApiEndpoint:
        found = [each for each in self.table if each.matches(segments)]
        exact = [each for each in found if each.path == "/" + "/".join(segments)]
        wanted = "GET" if method == "HEAD" else method
        for each in exact or found:
            if each.method == wanted:
                return each
        if found:
            allowed = sorted({each.method for each in exact or found})
            words = ", ".join(allowed)
            raise ApiProblem("wrong-method", f"{method}: use {words}", headers={"Allow": words})
        known = sorted({each.path for each in self.table})
        asked = "/" + "/".join(segments)
        near = nearest(asked[:200], known)
        raise ApiProblem(
            "unknown-path", f"there is no {asked[:200]!r}; /openapi.json has them all", near
        )


def _allow(access: Access | None, scopes: Sequence[str]) -> None:
    """Refuse who may do nothing of this; no scopes: everybody may. Of a scope that names a task, the handler
    looks.
    """
    if not scopes:
        return
    if access is None:
        headers = {"WWW-Authenticate": "Bearer"}
        words = (
            "send Authorization: Bearer TOKEN, one of `resqpy web token create NAME --scope read`"
        )
        raise ApiProblem("no-token", words, headers=headers)
    if not any("{" in each or access.allows(each) for each in scopes):
        raise no_scope(scopes)


def no_scope(scopes: Sequence[str], *needed: str) -> ApiProblem:
    """The answer for a token that may not do this.

    Args:
        scopes: those of the endpoint.
        needed: what they are for this request, with the name of a task: any text, which no header takes.
    """
    headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scopes[0]}"'}
    words = " or ".join(needed or scopes)
    return ApiProblem("no-scope", f"this needs the scope {words}", headers=headers)


def _response(
    value: Any, status: int, headers: Mapping[str, str], kind: str = "application/json"
) -> Response:
    content = b"" if status == 204 else encoded(value)
    return Response(content, status, {"Cache-Control": "no-store", **headers}, kind)


def _values(endpoint: ApiEndpoint, request: Request, segments: Sequence[str]) -> dict[str, Any]:
    texts = {} if endpoint.raw_query else _query(request.scope["query_string"])
    known = {each.name: each for each in endpoint.parameters if each.where == "query"}
    wrong = [_unknown(name, known) for name in texts if name not in known]
    for name, given in texts.items():
        if name in known and len(given) > 1:
            wrong.append(RequestFault(name, "it is given more than once"))
    own = endpoint.path.split("/")[1:]
    said = {
        name[1:-1]: named(part) for name, part in zip(own, segments, strict=True) if "{" in name
    }
    said |= {name: given[-1] for name, given in texts.items() if name in known}
    said |= {
        each.name: request.headers[each.name]
        for each in endpoint.parameters
        if each.where == "header" and each.name in request.headers
    }
    values = dict[str, Any]()
    for each in endpoint.parameters:
        wrong += _read(each, said, values)
    if wrong:
        raise _wrong(wrong)
    return values


def _query(raw: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict"
        )
    except ValueError as error:
        raise ApiProblem("wrong-request", f"the query can't be read: {error}") from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _unknown(name: str, known: Mapping[str, Parameter]) -> RequestFault:
    names = ", ".join(known) or "none"
    near = nearest(name, list(known))
    return RequestFault(name[:100], f"unknown parameter {name[:100]!r} (there are: {names})", near)


def _read(
    parameter: Parameter, said: Mapping[str, str], values: dict[str, Any]
) -> list[RequestFault]:
    if parameter.name not in said:
        if parameter.required:
            return [RequestFault(parameter.name, "it is missing")]
        if "default" in parameter.schema:
            values[parameter.name] = parameter.schema["default"]
        return []
    value = from_text(said[parameter.name], parameter.schema)
    values[parameter.name] = value
    return list(faults(value, parameter.schema, parameter.name))


def _wrong(wrong: Sequence[RequestFault]) -> ApiProblem:
    first = wrong[0]
    where = f"{first.pointer}: " if first.pointer else ""
    more = f" (and {len(wrong) - 1} more; see errors)" if len(wrong) > 1 else ""
    hint = f"; did you mean {first.near!r}?" if first.near else ""
    return ApiProblem("wrong-request", f"{where}{first.detail}{hint}{more}", first.near, wrong)


async def _body(endpoint: ApiEndpoint, request: Request) -> Any:
    if not endpoint.changes:
        return None
    raw = await body_of(request, MAX_BODY)
    if endpoint.body is None:
        if raw.strip() not in (b"", b"{}"):
            raise ApiProblem("wrong-request", "this takes no body")
        return None
    if not raw and not endpoint.body.get("required") and endpoint.body.get("type") == "object":
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiProblem(
            "wrong-media-type", f"the content type is {kind!r}; send JSON as application/json"
        )
    body = _decoded(raw)
    if wrong := list(faults(body, endpoint.body)):
        raise _wrong(wrong)
    return with_integers(body, endpoint.body)


def _decoded(raw: bytes) -> Any:
    try:
        body = codec.decode_text(raw.decode())
        codec.json_text(body).encode()  # no NaN, no lone surrogates: they can't be written
    except (ValueError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiProblem(
            "wrong-request", f"the body is not JSON in UTF-8: {words[:300]}"
        ) from error
    return body

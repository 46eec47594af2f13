"""The OpenAPI document of a table of endpoints, and its page of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from resqpy.web.api.endpoint import ApiEndpoint, Parameter
from resqpy.web.api.problems import KINDS, MEDIA_TYPE, ProblemKind

# What each endpoint may answer.
_ALWAYS = ("wrong-request", "internal", "redis-refused", "redis-away", "outcome-unknown")
_WITH_TOKEN = ("no-token", "wrong-token", "no-scope")
_WITH_BODY = ("too-large", "wrong-media-type", "wrong-value")

PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "enum": [f"urn:resqpy:problem:{name}" for name in KINDS],
        },
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "near": {"type": "string", "description": "The name that was probably meant."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON pointer into the body, or the name of a parameter.",
                    },
                    "detail": {"type": "string"},
                    "near": {"type": "string"},
                },
            },
        },
    },
}


def kinds_of(endpoint: ApiEndpoint) -> list[ProblemKind]:
    """The problems that an endpoint may answer with, by status."""
    names = {*_ALWAYS, *endpoint.problems}
    names |= {*_WITH_TOKEN} if endpoint.scopes else set()
    names |= {*_WITH_BODY} if endpoint.changes else set()
    return sorted((KINDS[name] for name in names), key=lambda kind: (kind.status, kind.name))


def document(table: Sequence[ApiEndpoint], base: str, title: str, version: str) -> dict[str, Any]:
    """The document in OpenAPI 3.1.

    Args:
        base: the path below which the endpoints are served.
    """
    paths: dict[str, dict[str, Any]] = {}
    for each in table:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM_SCHEMA},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: ApiEndpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": name_of(endpoint),
        "summary": endpoint.summary,
        "parameters": [_parameter(each) for each in endpoint.parameters],
        "responses": dict(_responses(endpoint)),
        "security": [{"token": []}] if endpoint.scopes else [],
    }
    if endpoint.scopes:
        found["x-scopes"] = list(endpoint.scopes)
    if endpoint.body is not None:
        found["requestBody"] = {
            # without one, an object is empty
            "required": bool(endpoint.body.get("required"))
            or endpoint.body.get("type") != "object",
            "content": {"application/json": {"schema": endpoint.body}},
        }
    return found


def name_of(endpoint: ApiEndpoint) -> str:
    """`get_queues_queue_jobs`: unique, and the same for as long as the path is."""
    words = [part.strip("{}").replace(".", "_") for part in endpoint.path.split("/") if part]
    return "_".join([endpoint.method.lower(), *words])


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.summary,
        "schema": parameter.schema,
    }
    if parameter.schema.get("type") == "array":
        found |= {"style": "form", "explode": False}
    return found


def _responses(endpoint: ApiEndpoint) -> Iterator[tuple[str, Any]]:
    done: dict[str, Any] = {"description": "Done."}
    if endpoint.answer is not None:
        done["content"] = {"application/json": {"schema": endpoint.answer}}
    yield str(endpoint.status), done
    by_status: dict[int, list[str]] = {}
    for kind in kinds_of(endpoint):
        by_status.setdefault(kind.status, []).append(f"{kind.title} (`{kind.name}`)")
    for status, titles in by_status.items():
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        yield str(status), {"description": "; ".join(titles) + ".", "content": content}

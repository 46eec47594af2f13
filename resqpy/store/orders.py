"""Orders to worker processes, with answers: a line each in the text of a process, read with its heartbeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from resqpy.base import codec
from resqpy.store.connection.client import Arg, Store

ANSWERS_KEPT_MS = 60_000
MOST_TASK_PROCESSORS = 10_000  # that a process is ordered to have; each is a worker in Redis


@dataclass(frozen=True, slots=True)
class Order:
    """An order.

    Attributes:
        until_ms: by Redis' clock; later it is not obeyed.
        by: who gave it.
        raw: its text, as it was read.
    """

    id: str
    verb: str
    args: Mapping[str, Any]
    until_ms: int
    by: str
    raw: bytes

    @classmethod
    def new(cls, order_id: str, verb: str, args: Mapping[str, Any], until_ms: int, by: str) -> Self:
        """One that is to be given."""
        told = {"id": order_id, "verb": verb, "args": args, "until": until_ms, "by": by}
        return cls(order_id, verb, args, until_ms, by, codec.encode_text(told))


async def give(store: Store, order: Order, incarnations: Sequence[str], valid_ms: int) -> None:
    """Give an order to some processes. One round trip.

    Args:
        valid_ms: how long it waits for them.
    """
    keys, told = store.keys, codec.encode_text({"orders": list(incarnations)})
    args: list[Arg] = [order.raw, valid_ms, keys.own("control"), told]
    await store.run("give_order", [*map(keys.orders, incarnations)], args)


def read(raw: bytes) -> Order | None:
    """An order; None: it can't be read."""
    match codec.decode_lenient(raw):
        case {
            "id": str(order_id),
            "verb": str(verb),
            "args": dict(args),
            "until": int(until),
            "by": by,
        }:
            return Order(order_id, verb, args, until, str(by), raw)
    return None


def lines(text: bytes) -> list[bytes]:
    """The orders that wait for a process, from the value of their key."""
    return [each for each in text.split(b"\n") if each]


async def waiting(store: Store, incarnation: str) -> list[bytes]:
    """The same. One round trip."""
    [text] = await store.look([("GET", store.keys.orders(incarnation))])
    return lines(text or b"")


async def answer(store: Store, incarnation: str, order: Order, facts: Mapping[str, Any]) -> None:
    """Answer an order, which is then done. One round trip."""
    keys = [store.keys.orders(incarnation), store.keys.order_answers(order.id)]
    told = codec.encode_text({"process": incarnation, **facts})
    await store.run("answer_order", keys, [order.raw, told, ANSWERS_KEPT_MS])


async def drop(store: Store, incarnation: str, raw: bytes) -> None:
    """Forget what is no order."""
    key = store.keys.orders(incarnation)
    await store.run("answer_order", [key, store.keys.order_answers("")], [raw, b"", 1])


async def answers(store: Store, order_id: str) -> dict[str, dict[str, Any]]:
    """The answers so far, by process. One round trip."""
    [found] = await store.look([("LRANGE", store.keys.order_answers(order_id), 0, -1)])
    read = [codec.decode_lenient(each) for each in found]
    told = [each for each in read if isinstance(each, dict) and "process" in each]
    return {str(each.pop("process")): each for each in told}

"""What of a job's text may stand in a worker's record: what Ruby and Node can read, and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from resqpy.base import codec
from resqpy.base.json_rules import read_strict
from resqpy.embedded import PrivateServer
from resqpy.store.connection.client import Store, script
from resqpy.store.connection.options import RedisOptions


@pytest.fixture(scope="module")
def fuzzing(redis_server: PrivateServer) -> Any:
    """The script's own judgement of a text, and a loop to ask it on."""
    judge = script("presentable").text + b"\nreturn presentable(ARGV[1]) and 1 or 0"
    runner = asyncio.Runner()
    store = Store(RedisOptions(redis_server.url))

    def ask(raw: bytes) -> bool:
        return bool(runner.run(store.call("EVAL", judge, 0, raw)))

    yield ask
    runner.run(store.close())
    runner.close()


TOKENS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"class":"C"', b'"a"', b'"\\u00e9"', b'"\\ud800"', b'"\\x"',
     b"1", b"-", b"+", b"0", b".", b"e", b"E", b"01", b"1.", b".5", b"1e5", b"1e999", b"0x1F", b"-0",
     b"nan", b"NaN", b"Infinity", b"inf", b"true", b"null", b"tru", b" ", b"\t", b"\x00", b"\xff",
     b"\xc3\xa9", b'"\xed\xa0\x80"', b'"\xf0\x9f\x98\x80"', b'"\xf4\x90\x80\x80"', b"\\", b'"', b"/*",
     b'"args":[]', b'"args":[1.0,2]', b"1" * 30]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=8,
)


def mangle(data: tuple[Any, int, bytes]) -> bytes:
    """A job's text with a piece put in somewhere."""
    value, at, piece = data
    raw = json.dumps({"class": "C", "args": [value]}, ensure_ascii=at % 2 == 0).encode(
        "utf-8", "surrogatepass"
    )
    at %= len(raw) + 1
    return raw[:at] + piece + raw[at:]


TEXTS = st.one_of(
    st.lists(TOKENS, max_size=12).map(b"".join),
    st.lists(TOKENS, max_size=8).map(lambda t: b'{"class":"C","args":[' + b"".join(t) + b"]}"),
    st.tuples(VALUES, st.integers(0, 10_000), TOKENS | st.binary(max_size=2)).map(mangle),
    st.tuples(VALUES, st.integers(0, 10_000), st.just(b"")).map(mangle),
)


HUGE = 2**1024 - 2**970  # JavaScript's Infinity begins here


def is_bearable(raw: bytes) -> bool:
    """The same question, asked in Python."""
    try:
        value = read_strict(raw)
    except ValueError:
        return False
    return isinstance(value, dict) and isinstance(value.get("class"), str) and fits_doubles(value)


def fits_doubles(value: Any) -> bool:
    """Whether no integer in it is one that JavaScript can't hold."""
    if isinstance(value, dict):
        return all(map(fits_doubles, value.values()))
    if isinstance(value, list):
        return all(map(fits_doubles, value))
    return not isinstance(value, int) or abs(value) < HUGE


def around(inside: bytes) -> bytes:
    """A job with this among its arguments."""
    return b'{"class":"C","args":[%s]}' % inside


@settings(
    max_examples=1500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(raw=TEXTS)
@example(around(b'{"id":1},' * 300 + b"0"))
@example(
    around(b"1.5," + b'"' + b"-." + b"x" * (200 - len(around(b'1.5,"-."'))) + b'"')
)  # of 200 bytes
@example(around(b'"-.' + b"x" * (199 - len(around(b'"-."'))) + b'"'))  # of 199
@example(around(b"[" * 96 + b"]" * 96))
@example(around(b"[" * 97 + b"]" * 97))
@example(around(b'"' + b"9" * 5_000 + b'"'))
@example(around(b"9" * 308))
@example(around(b"9" * 309))
@example(around(b"9" * 308 + b".5"))
@example(around(b"9" * 308 + b"e1"))
@example(around(b"1.7976931348623157e+308,1e308,1e-999"))
@example(around(b"1e0309"))
@example(around(b'"1.","-.5","1e999"'))
@example(around(b"1.e5"))
@example(around(b"-.5"))
@example(around(b'"\\ud83d\\ude00 \\ud55c \\\\ud800"'))
@example(around(b'"\x7f"'))
@example(around(b'"a\tb"'))
@example(around(b'\n\t1,\r\n"a,b" , "c"'))
@example(around(b'"a\\" \n b", 1'))
@example(around(b'"c\n", "d"'))
@example(around(b"1") + b"\x00 and more")
@example(around(b'"\xe4\xc3\xb6\xbd\xa0"'))  # a character within another
@example(around(b'"\xed\xa0\x80"'))
@example(around('"äöü漢字😀\ud7ff\ue000"'.encode()))
@example(b"\xef\xbb\xbf" + around(b"1"))
@example(b" " + around(b"1") + b"\n")
def test_redis_finds_presentable_what_python_does(fuzzing: Any, raw: bytes) -> None:
    """The script says yes to every job that Ruby and Node can read, and to nothing else."""
    assert fuzzing(raw) == is_bearable(raw)


@pytest.mark.parametrize(
    "args",
    [
        [["x y z " * 10_000]],
        [[{"id": n, "name": f"name {n}", "ok": True, "at": 1.5} for n in range(1_200)]],
        ["äöü" * 10_000],
        ["漢字" * 10_000],
        ["😀" * 15_000],
        ["line\n" * 10_000],
        [[[]] * 20_000],
        [[1] * 30_000],
        ["1" * 60_000],
    ],
    ids=["text", "rows", "umlauts", "cjk", "emoji", "escapes", "lists", "numbers", "digits"],
)
def test_large_ordinary_jobs_are_presentable(fuzzing: Any, args: list[Any]) -> None:
    """Up to 64 KiB, whatever they are made of."""
    assert fuzzing(codec.encode_job("Mail", "q", args))


def test_the_settings_of_everybody_s_cjson_stay(redis_server: PrivateServer) -> None:
    """Other scripts of the same Redis read what they read before."""
    text = (
        script("presentable").text
        + b"""
presentable('{"class":"C","args":[1]}')
return tostring(cjson.decode_max_depth()) .. tostring(cjson.decode_invalid_numbers())"""
    )

    async def ask() -> bytes:
        store = Store(RedisOptions(redis_server.url))
        reply: bytes = await store.call("EVAL", text, 0)
        await store.close()
        return reply

    assert asyncio.run(ask()) == b"1000true"

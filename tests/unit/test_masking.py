"""What may be seen: no password, wherever it stands and whatever signs it has."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base.masking import Redaction, masked_text, masked_url
from resqpy.store.connection.connect import problem_of

NEVER = "S3CR37"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"amqp://guest:{NEVER}@mq:5672/v", "amqp://guest:***@mq:5672/v"),
        (f"see postgres://u:{NEVER}@db/x now", "see postgres://u:***@db/x now"),
        (f"mongodb+srv://u:{NEVER}@a.b/c", "mongodb+srv://u:***@a.b/c"),
        (f"https://u:{NEVER}@h/p", "https://***@h/p"),
        (f"https://{NEVER}@github.com/x", "https://***@github.com/x"),
        (f"https://u:x/{NEVER}?@h/p", "https://***@h/p"),
        (f"redis://:a/{NEVER}@h", "redis://:***@h"),
        (f"redis://:a?{NEVER}@h", "redis://:***@h"),
        (f"redis://:a#{NEVER}@h", "redis://:***@h"),
        (f"redis://:a@{NEVER}@h", "redis://:***@h"),
        (f"redis://us/{NEVER}:x@h", "redis://***@h"),
        (f"redis://:{NEVER}@a,redis://:{NEVER}@b", "redis://:***@a,redis://:***@b"),
        (f'{{"a":"redis://:{NEVER}@a","mail":"x@y"}}', '{"a":"redis://:***@a","mail":"x@y"}'),
        (f"https://h/?next=redis://:{NEVER}@r", "https://h/?next=redis://:***@r"),
        (f"https://h/p?a=1&access_token={NEVER}&b=2", "https://h/p?a=1&access_token=***&b=2"),
        (f"https://h/p#id_token={NEVER}", "https://h/p#id_token=***"),
        (f"https://s3/x?X-Amz-Signature={NEVER}&x=1", "https://s3/x?X-Amz-Signature=***&x=1"),
        (f"/callback?api_key={NEVER}", "/callback?api_key=***"),
        (f"https://m/?sig={NEVER}&key={NEVER}", "https://m/?sig=***&key=***"),
        ("https://medium.com/@someone/a", "https://medium.com/@someone/a"),
        ("http://h:8080/x?mail=a@b.org", "http://h:8080/x?mail=a@b.org"),
        ("http://[::1]:80/@x", "http://[::1]:80/@x"),
        ("write to a@b.org; x=1&y=2", "write to a@b.org; x=1&y=2"),
        ("redis://u@h", "redis://u@h"),
    ],
)
def test_credentials_are_known_by_their_shape(text: str, shown: str) -> None:
    """In any text, of any scheme; what is none is left as it is."""
    assert masked_text(text) == shown


@pytest.mark.parametrize("sign", ["/", "?", "#", "@", " ", '"', "'", "[", "]", ":", "%", "\n"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "amqp"])
def test_a_url_alone_hides_a_password_of_any_signs(scheme: str, sign: str) -> None:
    """Up to its last @."""
    shown = masked_url(f"{scheme}://user:abc{sign}{NEVER}@localhost:6379/0")

    assert NEVER not in shown
    assert shown.endswith("@localhost:6379/0")


@pytest.mark.parametrize("sign", ["/", "?", "#", "[", "]"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://:abc{}S3CR37@localhost:6379/0",
        "rediss://user:abc{}S3CR37@localhost/0",
        "redis://:12{}S3CR37@localhost",
        "redis://us{}S3CR37:abc@localhost",
        "redis://:a@bc{}S3CR37@localhost",
        "unix://user:abc{}S3CR37@/tmp/x.sock",
        "unix://:a@bc{}S3CR37@/tmp/x.sock",
    ],
)
def test_a_malformed_redis_url_is_not_quoted(url: str, sign: str) -> None:
    """What is told is the likely cause, and what to do."""
    problem = problem_of(url.format(sign))

    assert problem is not None
    assert "%2F" in problem
    assert not any(part in problem for part in (NEVER, "abc", "localhost", "user:"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://:p@h:1/2", "redis://u:p%2Fw%40@h/0?protocol=3", "redis://:p@ss@h:1/2",
        "rediss://u:p@[::1]:6380/0", "unix:///tmp/a@b.sock?db=1", "unix://u:p@/tmp/a@b.sock",
        "redis://:my secret@h", "redis:///3", "REDIS://h",
    ],
)  # fmt: skip
def test_a_redis_url_that_is_right_has_no_problem(url: str) -> None:
    """Escaped signs, addresses, sockets; an @ can be told apart."""
    assert problem_of(url) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://u:{NEVER}@h", "schemes: redis://"),
        (f"{NEVER}", "schemes: redis://"),
        ("redis://h:port", "its port"),
        ("redis://h/zero", "'zero'"),
        (f"redis://:a\n{NEVER}@h", "percent-encoded"),
    ],
)
def test_what_else_may_be_wrong_with_a_redis_url(url: str, words: str) -> None:
    """Told without what may be a secret."""
    problem = problem_of(url) or ""

    assert words in problem
    assert NEVER not in problem


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError(NEVER)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [{"myTOKENs": NEVER}], "b": (1, 2)}, {"a": [{"myTOKENs": "[FILTERED]"}], "b": [1, 2]}),
        (f"x amqp://u:{NEVER}@h", "x amqp://u:***@h"),
        (_Hostile(), "<a _Hostile whose repr raised RuntimeError>"),
        ({"url": {"deep": [f"https://{NEVER}@h"]}}, {"url": {"deep": ["https://***@h"]}}),
        (None, None),
    ],
)  # fmt: skip
def test_one_rule_for_all_that_is_shown(value: Any, shown: Any) -> None:
    """By name at any depth, by shape in any text."""
    assert Redaction().shown(value) == shown


class _Counting(Redaction):
    searched = 0

    def text(self, text: str) -> str:
        self.searched += len(text)
        return super().text(text)


def test_what_is_cut_off_is_not_searched() -> None:
    """However long a text is; a secret that begins before the cut is seen whole."""
    brief = _Counting(max_string=200)
    began = f"{'x' * 150} redis://user:{NEVER}{'y' * 5000}@host/"
    assert brief.shown(began) == f"{'x' * 150} redis://user:***@host/"
    brief.searched = 0
    assert brief.shown("z" * 10**6) == f"{'z' * 200}…"
    assert brief.searched < 20_000

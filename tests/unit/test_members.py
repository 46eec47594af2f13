"""The exact text of a member of an object."""

from __future__ import annotations

import pytest

from resqpy.base.json_rules import member_text, replace_member


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"a":1.0e-05}', b"1.0e-05"),
        (b'{"b":{"a":1},"a":[1,2 ,{"a":3}]}', b"[1,2 ,{\"a\":3}]"),
        (b' { "a" : "\\u00e9\\/" , "b":1 } ', b'"\\u00e9\\/"'),
        (b'{"a":1,"a":2}', b"2"),
        (b'{"\\u0061":null}', b"null"),
        (b'{"x":"{\\"a\\":1}","a":"\xc3\xa9"}', b'"\xc3\xa9"'),
        (b'{"a":18446744073709551616}', b"18446744073709551616"),
        (b'{"a":NaN}', b"NaN"),
    ],
)  # fmt: skip
def test_found(raw: bytes, text: bytes) -> None:
    """As it was written; the last counts."""
    assert member_text(raw, "a") == text


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"{}", b"[]", b"5", b'{"b":1}', b'{"a":', b'{"a"', b'{"b" 1}', b"\xff", b'{"a":1'],
)
def test_not_found(raw: bytes) -> None:
    """None, whatever is wrong; then nothing is replaced either."""
    assert member_text(raw, "a") is None
    assert replace_member(raw, "a", b"1") == raw


def test_replaced() -> None:
    """Blanks and neighbours stay."""
    raw = b'{ "b" : [1.0] , "a" : {"a":1} }'
    assert replace_member(raw, "a", b"5") == b'{ "b" : [1.0] , "a" : 5 }'

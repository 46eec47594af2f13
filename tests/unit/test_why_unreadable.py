"""Why a job can't be read: the place and the shape of what stands there, and nobody's secret."""

from __future__ import annotations

import pytest

from resqpy.base import codec
from resqpy.base.errors import PayloadError
from resqpy.base.json_rules import shape_around

BEGIN = '{"xxxxx":"x","xxxx":["'


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "it is empty"),
        (b"hunter2", "not JSON at byte 0 of 7 (Expecting value): hxxxxx0"),
        (b'{"class":"A","args":["hunter2', f"byte 21 of 29 (Unterminated string starting): {BEGIN}xxxxxx0"),
        (b'{"class":"A","args":["\xc3\xbc\xffhunter2"]}',
         f"byte 24 of 35 is 0xff, which is not UTF-8: {BEGIN}xx\\xffxxxxxx0\"…"),
        ('{"class":"ü","args":[1,]}'.encode(),
         'not JSON at byte 24 of 26 (Expecting value): {"xxxxx":"xx","xxxx":[0,]}'),
        (b'{"class":"A"} hunter2', 'not JSON at byte 14 of 21 (Extra data): {"xxxxx":"x"} hxxxxx0'),
        (b'{"class":"A","args":["\n"]}',
         f'not JSON at byte 22 of 26 (Invalid control character): {BEGIN}\\x0a"]}}'),
        (rb'{"class":"A","args":["\ud83d"]}', "lone surrogate"),
        (b'{"class":"A","args":[1e999]}', "1e999 is beyond the range of a double"),
        (b'{"class":"A","args":[NaN]}', "NaN is not JSON"),
        (b'{"class":"A","args":' + b"[" * 98 + b"]" * 98 + b"}", "nested deeper than 98 levels"),
        (b'{"class":{"password":"hunter2"}}', "the job's class is a JSON object, not a name"),
        (b'{"class":"","args":[]}', "the job's class is empty, not a name"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(raw: bytes, words: str) -> None:
    """Whatever it is; no traceback of a parser hangs on it."""
    with pytest.raises(PayloadError) as found:
        codec.decode_job(raw, "q")

    told = str(found.value)
    assert words in told
    assert found.value.__cause__ is None
    assert "hunter" not in told
    assert "\n" not in told


@pytest.mark.parametrize("at", [0, 12, 40, 79])
def test_only_what_is_near_is_shown(at: int) -> None:
    """Of a long text, with an ellipsis where it is cut; only the byte of the place as it is."""
    raw = b"abcdefghij" * 8
    shown = shape_around(raw, at)

    assert len(shown) <= 35
    assert shown.count("x") >= 8
    assert [sign for sign in shown if sign not in "x…"] == [chr(raw[at])]
    assert (shown.startswith("…"), shown.endswith("…")) == (at > 24, at < 71)

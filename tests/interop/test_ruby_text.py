"""The texts that Ruby's plugins put into their keys, compared with those of Ruby itself (no gem is needed)."""

from __future__ import annotations

import json
import os
import random
import subprocess
from typing import Any
from unicodedata import category, ucd_3_2_0

from resqpy.base.ruby_text import ruby_inspect, ruby_joined
from tests.interop.conftest import ARROWS
from tests.support.foreign import INTEROP

ODD = ["", '"', "\\", "#{x}", "#$x", "#@x", "# x", "\0\a\b\t\n\v\f\r\x1b\x7f\x85\xa0", "é", "\u2028", "😀",
       "\ufeff", "\ufffe", "\U000e0001", "nil", "1.0", "-"]  # fmt: skip
NUMBERS = [0, -1, 2**64, 1.0, -0.0, 1e15, 1e16, 1e20, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308]
FIXED: list[list[Any]] = [
    [],
    [[]],
    [{}],
    [None],
    [None, [None, [True, False]]],
    [{"a": 1, "b": {"c": [None, 1.0]}}],
    [[[{"": ""}]], "x"],
    ODD,
    NUMBERS,
]


def some_char(dice: random.Random) -> str:
    """One that every Unicode has, or that none will ever have: each Ruby shows what is newer in its own way."""
    while True:
        code = dice.choice(
            [dice.randrange(0x100), dice.randrange(0x3000), dice.randrange(0x110000)]
        )
        never = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        if never or (category(chr(code)) != "Cs" and ucd_3_2_0.category(chr(code)) != "Cn"):
            return chr(code)


def some_value(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON."""
    kind = dice.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [some_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    if kind == 7:
        return {some_text(dice): some_value(dice, depth + 1) for _ in range(dice.randrange(4))}
    plain = dice.choice([None, True, False, *NUMBERS])
    number = dice.choice([dice.randrange(-(2**70), 2**70), dice.uniform(-1e3, 1e3)])
    scaled = dice.random() * 10.0 ** dice.choice(
        [dice.randrange(-320, 300), dice.randrange(-8, 20)]
    )
    return dice.choice([plain, number, scaled, round(scaled, 1), some_text(dice), dice.choice(ODD)])


def some_text(dice: random.Random) -> str:
    """Up to five characters."""
    return "".join(some_char(dice) for _ in range(dice.randrange(6)))


def test_texts_of_arguments(ruby_arrow: str) -> None:
    """`args.to_s` and `args.join("-")` of the fixed ones and of thousands at random."""
    dice = random.Random(16)
    found = [[some_value(dice) for _ in range(dice.randrange(4))] for _ in range(5000)]
    cases = [*FIXED, *([each] for each in (*ODD, *NUMBERS)), *found]
    told = "".join(json.dumps({"args": each}) + "\n" for each in cases)
    done = subprocess.run(
        ["ruby", "-EUTF-8:UTF-8", str(INTEROP / "ruby" / "texts.rb")],
        input=told, capture_output=True, text=True, check=True, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == len(cases)
    for args, line in zip(cases, lines, strict=True):
        ours = [ruby_inspect(args, ruby_arrow), ruby_joined(args, ruby_arrow)]
        assert ours == json.loads(line), args


def test_objects_need_to_know_which_ruby() -> None:
    """Ruby 3.4 writes them in another way."""
    assert {ruby_inspect([{"a": {"b": 1}}], arrow) for arrow in ARROWS} == {
        '[{"a"=>{"b"=>1}}]',
        '[{"a" => {"b" => 1}}]',
    }

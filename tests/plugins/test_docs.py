"""The examples of docs/reference/plugins.md do what the text around them says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from resqpy.plugins import __all__ as built_in
from tests.plugins.conftest import MakeStage

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "plugins.md"


async def test_the_examples_run(make_stage: MakeStage, capsys: Any) -> None:
    """Tasks with built-in plugins, hooks of one's own, and `around`."""
    place: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(code, place)
    jobs = place["jobs"] | {"timed": {"perform": print, "plugins": [place["Timed"]]}}
    stage = make_stage(**jobs)

    assert await stage.queue.enqueue_many(
        [("q", "invoice", [7]), ("q", "invoice", [7]), ("q", "audited", []), ("q", "audited", [1]),
         ("q", "timed", [2])]
    ) == [True, False, False, True, True]  # fmt: skip
    await stage.drain()

    printed = capsys.readouterr().out
    assert "invoice 7" in printed
    assert "enqueued audited for jobs" in printed
    assert "timed took" in printed
    assert await stage.redis.lrange("resque:queue:audit", 0, -1) == [
        b'{"class":"written","queue":"audit","args":["audited","None"]}'
    ]


def test_every_option_is_on_the_page() -> None:
    """In node-resque's spelling."""
    from resqpy import plugins
    from resqpy.engine.plugin import camel_case

    text = PAGE.read_text()
    for name in built_in:
        for option in getattr(plugins, name).option_names:
            assert f"`{camel_case(option)}`" in text, f"{name}.{option}"

"""The pictures in the documentation: each is there, made by the script, and small."""

from __future__ import annotations

import re
from pathlib import Path

from tests.web.screenshots import IMAGES, PICTURES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
_PICTURE = re.compile(r"\]\(([^)]+\.png)\)")


def test_each_picture_that_is_shown_is_made_by_the_script() -> None:
    """And each that it makes is shown; `python -m tests.web.screenshots` makes them again."""
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in _PICTURE.findall(page.read_text())
    }
    assert shown == {IMAGES / name for name in PICTURES}
    assert {each.name for each in IMAGES.iterdir()} == set(PICTURES)


def test_pictures_are_small() -> None:
    """Everybody who clones has them."""
    large = [each.name for each in IMAGES.iterdir() if each.stat().st_size > 64_000]
    assert large == []

"""Every example of the docs runs; what is no program is checked in test_docs_blocks.py."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from resqpy import open_project
from tests.docs.pages import DOCS, Stage, blocks, pages

# Whose examples are run elsewhere: tests/acceptance/test_tutorial.py, tests/cli/test_docs.py, tests/contrib/.
FOLLOWED = {
    DOCS / "tutorial" / "first-project.md",
    DOCS / "reference" / "cli-tour.md",
    DOCS / "how-to" / "django.md",
}
PAGES = [
    page
    for page in pages()
    if page not in FOLLOWED and {"python", "console", "toml"} & {each.kind for each in blocks(page)}
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
async def test_the_examples_of_a_page(page: Path, stage: Stage) -> None:
    """Its files make a project without errors, its other examples run in it, its tests pass."""
    examples = [each for each in blocks(page) if each.reason is None]
    for each in examples:
        if each.file is not None:
            stage.write(each)
    async with open_project("."):
        for each in examples:
            if each.file is None and each.kind == "python":
                await stage.run(each)
            elif each.kind == "console" and page not in FOLLOWED:
                await asyncio.to_thread(stage.type, each)
    for program in sorted(stage.root.glob("*.py")):
        if program.name != "conftest.py":
            done = stage.run_program(program.name)
            assert done.returncode == 0, done.stderr
    if (stage.root / "tests").is_dir():
        done = stage.run_tests()
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_page_is_in_the_index() -> None:
    """By a link."""
    index = (DOCS / "index.md").read_text()
    linked = set(re.findall(r"\]\(([\w/.-]+\.md)\)", index))
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"index.md"}

    assert linked == there

"""The page of the Python API is that of the code, and complete."""

from __future__ import annotations

import resqpy
from tests.docs.api_reference import DOC, SECTIONS, generated


def test_the_page_is_that_of_the_code() -> None:
    """If not: `python -m tests.docs.api_reference`."""
    assert generated() == DOC.read_text()


def test_each_public_name_is_on_it() -> None:
    """In a section; `current_run` stands with the `Run` that it holds."""
    shown = {name for names in SECTIONS.values() for name in names}

    assert set(resqpy.__all__) - shown == {"current_run"}

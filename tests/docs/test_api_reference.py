"""The page of the Python API is that of the code, and complete."""

from __future__ import annotations

from difflib import unified_diff

import resqpy
from resqpy.base import errors
from tests.docs.api_reference import DOC, ERRORS, SECTIONS, VALUES, generated


def test_the_page_is_that_of_the_code() -> None:
    """If not: `python -m tests.docs.api_reference`."""
    page, code = DOC.read_text().splitlines(), generated().splitlines()
    changes = list(unified_diff(page, code, "the page", "the code", n=0, lineterm=""))

    assert not changes, "\n".join(["run python -m tests.docs.api_reference", *changes[:20]])


def test_each_public_name_is_on_it() -> None:
    """In a section, or as a value or an error; `current_run` stands with the `Run` that it holds, and
    `CallNext` is what a plugin's `around` is given.
    """
    shown = {name for names in SECTIONS.values() for name in names}
    shown |= {each.__name__ for each in VALUES} | set(ERRORS)

    assert set(resqpy.__all__) - shown == {"current_run", "CallNext"}


def test_each_error_is_public() -> None:
    """So that whoever catches one imports it from where all else comes."""
    kinds = [each for each in ERRORS.values() if isinstance(each, type)]
    names = {each.__name__ for each in kinds if issubclass(each, errors.ResqpyError)}

    assert names - set(resqpy.__all__) == set()

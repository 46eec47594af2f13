"""Projects made of texts, as in tests/framework; the samples are no tests."""

from tests.framework.conftest import _silent, files, make_project

__all__ = ["_silent", "files", "make_project"]

collect_ignore = ["django_site"]

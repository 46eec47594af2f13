"""The samples are no tests."""

collect_ignore = ["django_site"]

"""Breaks the features that are used most, in one line each, and shows that a test of each fails: `bin/mutate`."""

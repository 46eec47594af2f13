"""Processes that work: from the options of `resqpy start` to one process, or to several under a supervisor."""

"""SQLite, which says whether a connection is alive, as servers' backends do."""

import sqlite3

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own takes each for usable."""

    def is_usable(self):
        """Ask it."""
        try:
            self.connection.execute("SELECT 1")
        except sqlite3.Error:
            return False
        return True

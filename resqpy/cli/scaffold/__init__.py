"""Files written from `templates/`, for `resqpy new` and `resqpy generate`."""

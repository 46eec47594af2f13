"""A project: its folder and Redis (`place.py`), its files loaded into a frozen `Registry`, its problems."""

"""The config: sections with their options (`sections.py`), merged from defaults, files, environment and flags,
and translated for store and engine (`connection.py`).
"""

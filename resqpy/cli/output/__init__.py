"""What a command answers: tables, JSON and questions (`printing.py`), rows of tables, exit codes."""

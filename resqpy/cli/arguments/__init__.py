"""What a command is told: shared flags and types of values, the folder and config that they lead to
(`settings.py`), and the project and its Redis, once work begins (`session.py`).
"""

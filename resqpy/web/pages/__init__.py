"""The pages of the console, one module for each subject: what each page reads, as data for its template, and
what its buttons do. `area.py` has the table of all.
"""

"""A storm: processes of all roles, jobs of all kinds, faults of all sorts, and an auditor outside Redis."""

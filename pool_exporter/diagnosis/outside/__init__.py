"""Diagnosis from outside: of what processes have reported of themselves, and of what the database servers say.

Rules: everything here is a function of reports and values that it is given; no stack, file or server is read.
"""

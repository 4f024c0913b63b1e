"""`python -m tests.integration.reports` writes docs/explanation/field-reports.md."""

from tests.integration.reports.page import write

if __name__ == "__main__":
    write()

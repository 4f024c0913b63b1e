"""`python -m tests.docs` writes the generated parts of the pages."""

from tests.docs.generated import write

if __name__ == "__main__":
    write()

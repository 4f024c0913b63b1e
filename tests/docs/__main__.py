"""`python -m tests.docs` writes the generated parts of docs/reference."""

from tests.docs.generated import write

if __name__ == "__main__":
    write()

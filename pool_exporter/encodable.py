"""Makes a text encodable: what a file, a server or the application has may contain half of a surrogate pair.

No output can have that, since UTF-8 has none. Nothing here may import anything.
"""


def encodable(text: str) -> str:
    """Return *text* with `?` for each half of a surrogate pair."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # Most are ASCII, and stay one object.

"""Print the golden files anew."""

from tests.golden import FILES, path_of, scrape

for name, accept in FILES.items():
    path_of(name).write_text(scrape(accept), encoding="utf-8")

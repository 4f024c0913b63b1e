"""All that a shared directory holds, process by process, as values: for `pool-exporter dump`.

It is read and decoded as a scrape does it. Rules: nothing here may compact, write or render.
"""

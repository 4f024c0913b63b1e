"""Where `pool-exporter check` takes facts from, an engine or worker files and servers, and how it prints findings."""

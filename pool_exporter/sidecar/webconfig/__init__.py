"""The exporter-toolkit's web configuration file: TLS, basic authentication, rate limit, reload."""

"""Where `pool-exporter advise` takes the loads of pools from: two looks, or the busiest hour of a Prometheus."""

"""What is measured: the catalogue of metrics and the frozen snapshots. Pure values, standard library only."""

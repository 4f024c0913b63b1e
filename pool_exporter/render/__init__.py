"""The outputs: each module here is a function of a Snapshot, and nothing else."""

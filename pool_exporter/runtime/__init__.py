"""This process: instrument(), the registry of pools, storage of slots, forks, the heartbeat."""

"""The loads of all pools of a source: in a window, or in the busiest hour of each. Nothing here may read anything."""

"""What is wrong in the configuration of a pool: facts about it, rules over them, and findings."""

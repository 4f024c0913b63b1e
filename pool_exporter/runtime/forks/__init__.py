"""What a forked child needs: how a fork in C is noticed, and the warning of a child that no page shows."""

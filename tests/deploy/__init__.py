"""What is in deploy/, by the checkers of those who read it, and without the engines that would run it."""

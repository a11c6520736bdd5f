"""What everybody stands on: errors, random streams, trees of leaves, several hosts."""

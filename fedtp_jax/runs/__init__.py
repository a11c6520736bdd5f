"""One simulation, from a call to its result."""

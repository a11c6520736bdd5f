"""Many simulations: what a file asks for, and running it."""

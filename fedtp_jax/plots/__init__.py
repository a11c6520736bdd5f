"""Arrays to pictures: Matplotlib figures that need neither a display nor pyplot's state."""

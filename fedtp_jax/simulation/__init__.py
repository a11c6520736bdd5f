"""The rounds: who takes part, what is trained and aggregated, and what a run will cost."""

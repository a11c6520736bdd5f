"""What lies on disk and survives a kill: a run's folder, its logs, its checkpoints."""

"""The `fedtp` command."""

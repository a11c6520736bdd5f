"""Any per-client work on lanes: schedules, waves, compiled programs, and the clients' rows between rounds."""

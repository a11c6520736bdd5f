"""All methods on one task, each with settings that were chosen on validation shards."""

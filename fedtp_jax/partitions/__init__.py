"""Who holds which examples: the recipes, and partitions as files."""

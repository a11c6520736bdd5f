"""What is measured: every client on its own test shard, neighbours, clients that never trained."""

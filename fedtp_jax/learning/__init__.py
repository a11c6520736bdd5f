"""What methods are made of: the task, roles of leaves, local training, the hypernetwork, optimizers."""

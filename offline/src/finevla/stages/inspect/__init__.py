"""What a path holds: a bag, a dataset, a training directory or a bundle."""

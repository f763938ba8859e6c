"""What a path holds: a bag or a folder of bags, a dataset, a training directory or a bundle."""

"""Dynamic time warping of trajectories: compiled kernels, metrics, distances of whole groups."""

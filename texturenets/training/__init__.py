"""Training: the loop, its checkpoints, and who listens to its records."""

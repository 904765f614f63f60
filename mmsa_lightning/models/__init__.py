"""One paper, one file: pure torch modules that know a batch and nothing else."""

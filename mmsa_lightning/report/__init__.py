"""Tables and figures from finished runs: reads the files that runs leave, and nothing else."""

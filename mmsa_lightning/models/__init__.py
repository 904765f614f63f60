"""The models, one file for each paper: plain torch modules that read a batch and see no config."""

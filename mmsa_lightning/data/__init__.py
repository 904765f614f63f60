"""From a published file to padded batches: formats -> store -> sampler -> datamodule."""

"""How a model is trained and measured: Lightning's module and trainer, optimiser, metrics, and a run's ranks."""

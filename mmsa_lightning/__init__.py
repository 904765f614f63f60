"""Multimodal sentiment analysis on CMU-MOSI and CMU-MOSEI with PyTorch Lightning and Hydra."""

"""What was learnt, on new data: packages of trained models, loading them, and predicting with them."""

"""Figures, drawn with matplotlib. They can be read in grey: shapes and line styles repeat what colour says."""

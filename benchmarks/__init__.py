"""Measurements: ratios of programs that run side by side."""

"""Key sets: fetch them, cache them, and refresh them.

This package does not import Masonite, and does not handle tokens.
"""

"""Answers from descriptors alone: which expression a face shows and whether two faces are one person."""

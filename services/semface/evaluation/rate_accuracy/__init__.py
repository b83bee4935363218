"""Accuracy against rate, ours beside pictures that are coded as pixels and then recognised."""

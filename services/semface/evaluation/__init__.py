"""Accuracy against rate, measured on the path that serves: detect, extract, encode, decode, understand."""

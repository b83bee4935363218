"""Recipes that make every network and basis that semface ships, one command each. Nothing imports this package."""

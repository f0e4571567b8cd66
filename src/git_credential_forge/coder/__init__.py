"""Coder: where it holds the tokens of other forges, and gives or manages them."""

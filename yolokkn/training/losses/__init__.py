"""Losses of detection heads: assigner, terms and reduction are separate values."""

"""Labelled pictures: datasets, augmentation, loading."""

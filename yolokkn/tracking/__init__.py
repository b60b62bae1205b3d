"""Trackers: Python face of the C++ ones."""

"""Measures of detectors and trackers against ground truth."""

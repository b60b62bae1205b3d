"""From a trained network to files that the runtime runs."""

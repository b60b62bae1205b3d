"""Networks in PyTorch: blocks, one file per family, heads, presets."""

"""Training: assigners, losses, schedule, checkpoints, the trainer."""

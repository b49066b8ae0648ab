"""What the student learns from: teacher, losses, objectives."""

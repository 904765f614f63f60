"""What is minimised: functions of a model's output."""

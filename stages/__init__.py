"""The pipeline: its four stages, and what they share."""

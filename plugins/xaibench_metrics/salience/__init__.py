"""What a detector's maps look like and how they behave, whatever they are right about."""

"""What is installed, whether it works, and what to do if it does not."""

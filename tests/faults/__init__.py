"""What happens when anything dies at any moment: real processes, real signals, real servers."""

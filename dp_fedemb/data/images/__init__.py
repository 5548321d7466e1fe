"""From pictures of any size, mode and format to stores of uint8 examples."""

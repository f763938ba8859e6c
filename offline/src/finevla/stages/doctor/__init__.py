"""`finevla doctor`: what of the installation works, and the remedy for what does not."""

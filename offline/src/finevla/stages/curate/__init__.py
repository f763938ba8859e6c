"""`finevla curate`: many demonstrations in, a few representatives of what they do differently out."""

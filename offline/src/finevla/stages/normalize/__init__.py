"""`finevla normalize`: canonical vectors of any robot, and episodes that can be trusted."""

"""Draw a contact sheet of the simulated tasks: `finevla sim sheet`."""

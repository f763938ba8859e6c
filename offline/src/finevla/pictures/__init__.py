"""Moving pictures out of messages, for the nodes and for the converter: one decoder for both."""

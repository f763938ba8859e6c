"""Messages to action chunks: a lifecycle node around a pure loop."""

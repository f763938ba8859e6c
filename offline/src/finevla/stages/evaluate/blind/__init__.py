"""Films of a real robot, rated by somebody who does not know what was asked."""

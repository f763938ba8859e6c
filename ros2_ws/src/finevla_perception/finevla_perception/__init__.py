"""World to messages: camera node, instruction node and the conversion of images and joints."""

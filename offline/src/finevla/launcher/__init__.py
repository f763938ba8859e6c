"""`finevla launch`: ROS 2 launch files, through ROS's own launch packages or, without them, a strict subset."""

"""`finevla launch`: ROS 2 launch files, through ROS's own launch packages or a strict subset of them."""

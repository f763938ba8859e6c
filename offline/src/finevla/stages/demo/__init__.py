"""The demonstration: instructions issued live to the running ROS graph, judged from simulator truth."""

"""The simulated CobotMagic as ROS sees it: arms as CAN devices, cameras, scene services, leader."""

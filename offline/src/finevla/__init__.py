"""FineVLA for ROS 2: the library shared by the robot's nodes and the offline pipeline.

Storeys, lowest first: `contract` (the one definition of the robot, numpy only), `sim` and `policy`
(shared with the nodes), `stages` (offline verbs) and `cli`. A lower storey never imports a higher one.
"""

__version__ = "0.1.0"

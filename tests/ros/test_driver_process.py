"""Driver and simulation as processes of their own: they end quietly, with exit code 0, on SIGINT."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from arms import wait_until
from node_processes import start

from finevla.contract import load_contract, services

pytestmark = pytest.mark.ros
CONTRACT = load_contract()


def test_both_end_with_code_0_and_without_a_traceback(ros_context, tmp_path: Path):
    """Once, the sim node ended with code 2: its loop met publishers whose context was gone."""
    from finevla_msgs.msg import SceneTruth
    from finevla_sim.params import TRUTH_TOPIC
    from sensor_msgs.msg import JointState
    from spinning import Client, spinning
    from std_srvs.srv import SetBool

    port_file = tmp_path / "port"
    processes = [start("finevla_sim.sim_node", render="false", can_port=0, can_port_file=port_file)]
    try:
        assert wait_until(port_file.exists, 60.0)
        options = json.dumps({"host": "127.0.0.1", "port": int(port_file.read_text()), "tcp_tune": True})
        quoted = json.dumps(options)
        processes.append(
            start(
                "cobotmagic_driver.driver_node",
                can_interface="socketcand",
                can_options=quoted,
                feedback_timeout_s=2.0,
            )
        )
        client = Client("process_test_client", context=ros_context)
        truths = client.collect(SceneTruth, TRUTH_TOPIC, 10)
        joints = client.collect(JointState, CONTRACT.arms["left"].feedback_topic, 10)
        with spinning(ros_context, client):
            for number in (1, 3):
                assert client.transition(services.DRIVER_NODE, number)
            assert client.call(SetBool, services.DRIVER_ENABLE, data=True).success
            assert wait_until(lambda: truths and joints)
            time.sleep(0.2)
            for process in processes:
                process.send_signal(signal.SIGINT)
            for process in processes:
                output, _ = process.communicate(timeout=20.0)
                assert process.returncode == 0, output
                assert "Traceback" not in output
        assert not port_file.exists()
    finally:
        for process in processes:
            process.kill()
            process.wait()

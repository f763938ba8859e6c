"""The subset of launch behaves like the real one: the same small launch files, the same observations.

Here only the subset can run. On a machine with ROS 2, or with the sources of ros2/launch and
ros2/launch_ros on PYTHONPATH, the same cases also run through the real packages; that is what the claim
of compatibility rests on.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from finevla.launcher.subset.modules import EXPORTS
from finevla.launcher.verb import real_launch_is_installed

IMPORTS = "".join(f"from {name} import {', '.join(names)}\n" for name, names in EXPORTS.items() if names)
PREAMBLE = """
import sys
IMPORTS
ShutdownEvent = Shutdown
from launch.actions import Shutdown

# Prints its arguments, and the contents of the parameter files among them.
SHOW = '''
import sys, yaml
words = sys.argv[1:]
for i, word in enumerate(words):
    if word == "--params-file":
        print(sorted((k, v["ros__parameters"]) for k, v in yaml.safe_load(open(words[i + 1])).items()))
        words[i + 1] = "FILE"
print(" ".join(words))
'''
A = LaunchConfiguration("a")

def node(*arguments, **kw):
    return Node(executable=sys.executable, arguments=["-c", SHOW, *arguments], output="screen", **kw)

def say(*words, **kw):
    return ExecuteProcess(cmd=["echo", *words], output="screen", **kw)

def generate_launch_description():
    return LaunchDescription(entities())

def entities():
""".replace("IMPORTS", IMPORTS)

CASES: dict[str, tuple[str, list[str], list[str], int]] = {
    # name: body, arguments, lines of the processes in any order, exit code
    "arguments": (
        """
        yield DeclareLaunchArgument("a", default_value="1")
        yield DeclareLaunchArgument("b", default_value=A)
        yield say(A, LaunchConfiguration("b"))
        """,
        ["a:=7"],
        ["7 7"],
        0,
    ),
    "conditions": (
        """
        yield DeclareLaunchArgument("a")
        yield say("if", condition=IfCondition("TRUE"))
        yield say("unless", condition=UnlessCondition(A))
        """,
        ["a:=1"],
        ["if"],
        0,
    ),
    "expressions": (
        """
        yield say(PythonExpression(["'", TextSubstitution(text="x"), "' + str(int(sqrt(9)))"]))
        yield say(PathJoinSubstitution(["a", ["b", ".c"]]), EnvironmentVariable("NOPE", default_value="d"))
        """,
        [],
        ["x3", "a/b.c d"],
        0,
    ),
    "scopes": (
        """
        yield GroupAction([SetEnvironmentVariable("V", "inner"), say(EnvironmentVariable("V"))])
        yield say(EnvironmentVariable("V", default_value="outer"))
        yield GroupAction([SetEnvironmentVariable("W", "kept")], scoped=False)
        yield say(EnvironmentVariable("W"))
        """,
        [],
        ["inner", "outer", "kept"],
        0,
    ),
    "parameters": (
        """
        yield DeclareLaunchArgument("a", default_value="3")
        text = ParameterValue(A, value_type=str)
        yield node(name="n", parameters=[{"i": A, "s": text, "f": 1.5, "b": True, "t": "x", "l": [1, 2]}])
        """,
        [],
        [
            "[('/n', {'b': True, 'f': 1.5, 'i': 3, 'l': [1, 2], 's': '3', 't': 'x'})]",
            "--ros-args -r __node:=n --params-file FILE",
        ],
        0,
    ),
    "namespaces_and_remaps": (
        """
        inside = node(name="n", namespace="arm", remappings=[("/c", "/d")])
        yield GroupAction([PushRosNamespace("lab"), SetRemap("/a", "/b"), inside])
        yield node("word", name="m", namespace="/top")
        """,
        [],
        [
            "--ros-args -r __node:=n -r __ns:=/lab/arm -r /a:=/b -r /c:=/d",
            "word --ros-args -r __node:=m -r __ns:=/top",
        ],
        0,
    ),
    "opaque_function": (
        """
        yield DeclareLaunchArgument("a")
        yield OpaqueFunction(function=lambda context, word: [say(word, A.perform(context))], args=["w"])
        """,
        ["a:=1"],
        ["w 1"],
        0,
    ),
    "exit_handler": (
        """
        first = say("first")
        yield RegisterEventHandler(OnProcessExit(target_action=first, on_exit=[say("second")]))
        yield first
        """,
        [],
        ["first", "second"],
        0,
    ),
    "shutdown_on_exit": (
        """
        yield ExecuteProcess(cmd=["sleep", "60"])
        dying = ["sh", "-c", "sleep 0.5; echo dead; exit 3"]
        yield ExecuteProcess(cmd=dying, output="screen", on_exit=Shutdown())
        """,
        [],
        ["dead"],
        1,
    ),
    "timer": (
        """
        yield ExecuteProcess(cmd=["sleep", "60"])
        yield TimerAction(period=0.3, actions=[EmitEvent(event=ShutdownEvent())])
        """,
        [],
        [],
        0,
    ),
    "shutdown_handler": (
        """
        yield RegisterEventHandler(OnShutdown(on_shutdown=[LogInfo(msg="over")]))
        yield say("x")
        """,
        [],
        ["x"],
        0,
    ),
}
PROCESS_LINE = re.compile(r"^\[[\w.]+-\d+\] (.*)$")


def observe(engine: str, path: Path, arguments: list[str]) -> tuple[list[str], int]:
    command = [sys.executable, "-m", "finevla", "launch", "--engine", engine, str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    matches = [PROCESS_LINE.match(line) for line in done.stdout.splitlines()]
    return sorted(match[1] for match in matches if match), done.returncode


@pytest.mark.parametrize("engine", ["subset", "ros"])
@pytest.mark.parametrize("case", CASES)
def test_same_launch_file_same_observations(tmp_path: Path, engine: str, case: str) -> None:
    if engine == "ros" and not real_launch_is_installed():
        pytest.skip("ROS's own launch packages are not installed: only the subset can be observed")
    body, arguments, lines, code = CASES[case]
    path = tmp_path / "case.launch.py"
    path.write_text(PREAMBLE + textwrap.indent(textwrap.dedent(body), "    "))
    assert observe(engine, path, arguments) == (sorted(lines), code)

"""Prints the Python packages of pyproject.toml, one a line: the project's own and those of extras.

``python tools/requirements.py build test``. They are installed without the project itself, which
runs from its source tree; ``constraints.txt`` beside this file has the versions known to work.
"""

import os
import sys
import tomllib

_PYPROJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pyproject.toml")


def requirements(extras: list[str]) -> list[str]:
    """The requirements of the project and of ``extras``."""
    with open(_PYPROJECT, "rb") as file:
        project = tomllib.load(file)["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))

"""Puts the executable into the wheel, and gives the wheel the tag of a platform instead of a version of Python."""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags


class Executable(BuildHookInterface):
    def initialize(self, version, build_data):
        name = "bennu.exe" if os.name == "nt" else "bennu"
        build_data["shared_scripts"][name] = name
        # The tag with the newest C library, this machine's: the executable may need it. PyPI doesn't accept the tags that begin with
        # `linux_`, which name no C library.
        platform = next(tag for tag in platform_tags() if not tag.startswith("linux_"))
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False

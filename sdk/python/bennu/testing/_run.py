"""Runs the native tests of a project: `python -m bennu test [FOLDER]`."""

import argparse
import sys
import unittest
from pathlib import Path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bennu test", description="Runs the tests `test_*.py` of a folder.")
    parser.add_argument("folder", nargs="?", default="tests", help="the folder of the tests")
    parser.add_argument("--source", type=Path, default=Path("src"), help="the folder of the plugin's modules")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(options.source.resolve()))
    tests = unittest.defaultTestLoader.discover(options.folder, top_level_dir=options.folder)
    if not tests.countTestCases():
        print(f"{options.folder} has no tests", file=sys.stderr)
        return 1
    return 0 if unittest.TextTestRunner(verbosity=1).run(tests).wasSuccessful() else 1

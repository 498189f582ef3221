"""`python -m bennu build` and `python -m bennu test`, which `bennu build` and `bennu test` run. In a project, the folder `vendor/bennu`
is the program: `python vendor/bennu test`."""

import sys
from pathlib import Path

LEAST = (3, 11)


def main() -> int:
    if sys.version_info < LEAST:
        print(f"the SDK needs Python {LEAST[0]}.{LEAST[1]} or later, and this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    if __package__ in (None, ""):
        # As a program, the folder of the package is the first one of the path, where its modules hide those of the library.
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    what, *arguments = sys.argv[1:] or [""]
    if what == "build":
        from bennu import _build

        return _build.main(arguments)
    if what == "test":
        from bennu.testing import _run

        return _run.main(arguments)
    print("usage: python -m bennu build SOURCE --output FILE\n       python -m bennu test [FOLDER] [--source FOLDER]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

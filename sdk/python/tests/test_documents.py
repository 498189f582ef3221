"""The blocks of Python in documents, and the templates of projects."""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import bennu

WORKSPACE = Path(__file__).resolve().parents[3]
SDK = WORKSPACE / "sdk/python"


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-B", str(SDK / "bennu"), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return f"{done.returncode} {done.stdout}{done.stderr}"


class DocumentsTest(unittest.TestCase):
    def test_every_block_is_a_plugin_or_its_test(self):
        text = (WORKSPACE / "docs/python.md").read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertGreater(len(blocks), 4)
        self.assertEqual(blocks[0], (WORKSPACE / "templates/files/chat/channels.py").read_text(encoding="utf-8"), "the template")
        with tempfile.TemporaryDirectory() as home:
            for folder in ("src", "tests"):
                (Path(home) / folder).mkdir()
            (Path(home) / "src/channels.py").write_text(blocks[0], encoding="utf-8")
            for block in blocks:
                if "unittest" in block:
                    (Path(home) / "tests/test_channels.py").write_text(block, encoding="utf-8")
                else:
                    exec(compile(block, "docs/python.md", "exec"), {"__name__": "block"})
            self.assertRegex(run(Path(home), "test"), r"^0 (.|\n)*Ran 2 tests")

    def test_the_package_has_the_version_of_the_sdk(self):
        self.assertIn(f'version = "{bennu.__version__}"', (SDK / "pyproject.toml").read_text(encoding="utf-8"))

    def test_every_template_passes_its_tests(self):
        for template in ("chat", "room", "game", "notifications"):
            files = WORKSPACE / "templates/files" / template
            with tempfile.TemporaryDirectory() as home:
                for place, name in (("src", "channels.py"), ("tests", "test_channels.py")):
                    (Path(home) / place).mkdir()
                    (Path(home) / place / name).write_bytes((files / name).read_bytes())
                self.assertRegex(run(Path(home), "test"), r"^0 ", template)

    def test_a_mistake_in_the_source_has_its_own_line(self):
        cases = {"def f(:\n": 'channels.py", line 1', "import nothing\n": "No module named 'nothing'", "x = 1\n": "has no channel"}
        for source, expected in cases.items():
            with tempfile.TemporaryDirectory() as home:
                (Path(home) / "channels.py").write_text(source, encoding="utf-8")
                said = run(Path(home), "build", "channels.py", "--output", "out.wasm")
                # Without componentize-py, nothing else is looked at.
                self.assertTrue(said.startswith("1 ") and (expected in said or "componentize-py isn't installed" in said), said)

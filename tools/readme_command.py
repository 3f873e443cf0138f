"""Prints the n-th shell command of the README, so that CI runs it as a reader would.

python3 tools/readme_command.py 1
"""

import re
import sys
from pathlib import Path


def commands(text: str) -> list[str]:
    """The contents of the README's `sh` blocks, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    readme = Path(__file__).parent.parent / "README.md"
    print(commands(readme.read_text(encoding="utf-8"))[int(sys.argv[1]) - 1])

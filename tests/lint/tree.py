"""What every lint needs: the files of the project, their text without comments, one way to report."""
import re
import sys
from pathlib import Path

CODE = (".hpp", ".cpp", ".cu", ".cuh")
PLACES = ("include", "src", "cuda", "offload", "tests", "bench", "examples")


def files(root, places=PLACES, suffixes=CODE):
    """Paths below root/place, relative to root, in a fixed order."""
    found = []
    for place in places:
        for path in sorted((root / place).rglob("*")):
            if path.is_file() and path.suffix in suffixes:
                found.append(path.relative_to(root))
    return found


def module_of(path):
    """The module a library file belongs to, or None outside the library."""
    parts = path.parts
    if parts[:2] == ("include", "sherd") and len(parts) > 3:
        return parts[2]
    if parts[0] in ("src", "cuda", "offload") and len(parts) > 2:
        return parts[1]
    return None


_SKIPPED = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
    r"|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)


def bare(text):
    """The text with comments, strings and characters emptied; line numbers stay."""
    def keep_lines(match):
        lines = "\n" * match.group(0).count("\n")
        return lines if match.group(0)[0] == "/" else '""' + lines
    return _SKIPPED.sub(keep_lines, text)


def main(check):
    """Runs check(root) on the folder named by the first argument; exit 1 on any finding."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    findings = check(root)
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)

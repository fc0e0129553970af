"""`plait` on the PATH: hands over to the program of the package, without importing it (that would load torch here)."""
import importlib.util
import os
import pathlib
import sys


def main() -> None:
    spec = importlib.util.find_spec("plait")
    if spec is None or spec.origin is None:
        sys.exit("plait: the Python package plait is not installed beside this command")
    program = pathlib.Path(spec.origin).parent / "bin" / "plait"
    os.environ.setdefault("PLAIT_PYTHON", sys.executable)
    # Idle threads of torch's pool sleep soon instead of spinning: on a busy machine spinning costs many times the work.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.execv(program, [str(program), *sys.argv[1:]])

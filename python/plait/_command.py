"""`plait` on the PATH: hands over to the program of the package."""
import os
import pathlib
import sys


def main():
    program = pathlib.Path(__file__).parent / "bin" / "plait"
    os.environ.setdefault("PLAIT_PYTHON", sys.executable)
    os.execv(program, [str(program), *sys.argv[1:]])

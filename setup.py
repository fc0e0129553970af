"""Packages the libraries of the build tree: nothing compiles twice. PLAIT_BUILD names another tree than build/; a
missing one is configured and built against the torch of this Python."""
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("PLAIT_BUILD", ROOT / "build")).resolve()
STAGE = BUILD / "python" / "package"


def torch_folder():
    # pip builds in an isolated environment, so torch is looked for where the package will be installed.
    folder = pathlib.Path(os.environ.get("PLAIT_TORCH_DIR") or pathlib.Path(sysconfig.get_paths()["purelib"]) / "torch")
    if not (folder / "lib").is_dir():
        raise SystemExit(f"plait needs torch in {folder}; install torch==2.13.0 first, or set PLAIT_TORCH_DIR")
    return folder


def build_tree():
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", f"-DPLAIT_TORCH_DIR={torch_folder()}",
                        f"-DPython3_EXECUTABLE={sys.executable}", "-DPLAIT_WITH_TESTS=OFF"], check=True)
        subprocess.run(["cmake", "--build", BUILD], check=True)


def stage_libraries(package):
    """The component "python" of the build tree, each library once and under the name that it is loaded by."""
    subprocess.run(["cmake", "--install", BUILD, "--prefix", package, "--component", "python"], check=True,
                   stdout=subprocess.DEVNULL)
    # A wheel has no links: it would hold the file behind each of them once more.
    for link in [path for path in (package / "lib").iterdir() if path.is_symlink()]:
        file = link.resolve()
        link.unlink()
        file.rename(link)


class BuildWithLibraries(build_py):
    """Adds the extension module, the libraries, the program and the shipped model to the package."""

    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        build_tree()
        package = pathlib.Path(self.build_lib).resolve() / "plait"
        stage_libraries(package)
        if (ROOT / "pretrained").is_dir():
            shutil.copytree(ROOT / "pretrained", package / "models", dirs_exist_ok=True)


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


STAGE.mkdir(parents=True, exist_ok=True)
readme = ROOT / "README.md"
setup(long_description=readme.read_text() if readme.exists() else "", long_description_content_type="text/markdown",
      packages=["plait", "deepseek"], py_modules=["plait_command"], package_dir={"": "python"},
      package_data={"plait": ["*.pyi", "py.typed"], "deepseek": ["*.pyi", "py.typed"]},
      options={"build": {"build_base": str(STAGE)}, "egg_info": {"egg_base": str(STAGE)}},
      cmdclass={"build_py": BuildWithLibraries}, distclass=BinaryDistribution)

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
BUILD = pathlib.Path(os.environ.get("PLAIT_BUILD", ROOT / "build"))


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


class BuildWithLibraries(build_py):
    """Adds the extension module, the libraries, the program and the shipped model to the package."""

    def run(self):
        super().run()
        build_tree()
        package = pathlib.Path(self.build_lib) / "plait"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", package / "_install", "--component", "python"], check=True,
                       stdout=subprocess.DEVNULL)
        for item in (package / "_install").iterdir():
            target = package / item.name
            if target.is_dir():
                shutil.rmtree(target)
            shutil.move(item, target)
        shutil.rmtree(package / "_install")
        models = ROOT / "pretrained"
        if models.is_dir():
            shutil.copytree(models, package / "models", dirs_exist_ok=True)


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(packages=["plait", "deepseek"], package_dir={"": "python"},
      package_data={"plait": ["*.pyi", "py.typed"], "deepseek": ["*.pyi", "py.typed"]},
      cmdclass={"build_py": BuildWithLibraries}, distclass=BinaryDistribution)

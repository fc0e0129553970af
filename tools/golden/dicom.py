"""Small DICOM files for fuzz/corpus/dicom: one per encoding that the reader knows, from pydicom and its encoders."""
import io
import pathlib

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless,
    JPEGBaseline8Bit, JPEGLSLossless, RLELossless)

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "fuzz" / "corpus" / "dicom"


def image(pixels, syntax=ExplicitVRLittleEndian, photometric="MONOCHROME2", stored=None):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    ds.Modality, ds.PatientName, ds.PatientID = "OT", "Test^Made", "0"
    ds.PixelSpacing, ds.ImagePositionPatient, ds.ImageOrientationPatient = [1, 1], [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.WindowCenter, ds.WindowWidth, ds.RescaleSlope, ds.RescaleIntercept = 100, 80, 2, -1
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    frames = 1 if pixels.ndim == 2 or colour else len(pixels)
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if colour else 1), photometric
    if colour:
        ds.PlanarConfiguration = 0
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    return ds


def save(ds, name, syntax=None):
    if syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    ds.save_as(FOLDER / name, enforce_file_format=True)


def main():
    random = np.random.default_rng(1)
    grey = (np.add.outer(np.arange(9), np.arange(10)) * 12).astype(np.uint8)
    wide = random.integers(-900, 3000, (7, 6)).astype(np.int16)
    colour = random.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    save(image(grey, ImplicitVRLittleEndian, "MONOCHROME1"), "implicit")
    save(image(np.stack([grey, grey[::-1]])), "frames")
    save(image(wide, DeflatedExplicitVRLittleEndian), "deflated")
    save(image(wide, RLELossless), "rle", RLELossless)
    big = random.integers(-900, 3000, (32, 33)).astype(np.int16)
    save(image(big, JPEG2000Lossless), "jpeg2000", JPEG2000Lossless)
    save(image(grey, JPEGLSLossless), "jpeg_ls", JPEGLSLossless)
    save(image(np.tile(colour, (6, 4, 1)), JPEG2000Lossless, "RGB"), "jpeg2000_rgb", JPEG2000Lossless)
    swapped = image(wide.astype(">i2"), ExplicitVRBigEndian)
    save(swapped, "big_endian")
    ybr = image(colour, JPEGBaseline8Bit, "YBR_FULL_422")
    out = io.BytesIO()
    Image.fromarray(colour).save(out, "JPEG", quality=80)
    ybr.PixelData = encapsulate([out.getvalue()])
    save(ybr, "jpeg")
    palette = image((grey // 40).astype(np.uint8), photometric="PALETTE COLOR")
    for colour_name in ("Red", "Green", "Blue"):
        setattr(palette, f"{colour_name}PaletteColorLookupTableDescriptor", [6, 0, 16])
        setattr(palette, f"{colour_name}PaletteColorLookupTableData", (np.arange(6) * 9000).astype("<u2").tobytes())
    save(palette, "palette")
    enhanced = image(np.stack([wide, wide]))
    groups = []
    for z in range(2):
        plane, item = Dataset(), Dataset()
        plane.ImagePositionPatient = [0, 0, z * 3]
        item.PlanePositionSequence = Sequence([plane])
        groups.append(item)
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(groups)
    save(enhanced, "enhanced")


if __name__ == "__main__":
    main()

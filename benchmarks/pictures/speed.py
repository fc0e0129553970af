"""Seconds of one denoising step (a U-Net of Stable Diffusion 1's shape at half or full width, random weights, with guidance)
and of decoding, against diffusers on the same weights, from one interleaved run.

    python benchmarks/pictures/speed.py [--width 160] [--side 32] [--rounds 7] [--threads 1]

Prints the minimum and the median of each and the ratio of the minima, and writes speed.json."""
import argparse
import json
import pathlib
import platform
import statistics
import sys
import tempfile
import time

import diffusers
import torch

import plait

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/python"))
import test_pictures  # noqa: E402  the small folder's tokenizer and text encoder


def write(folder, width, side):
    """The tests' folder with a larger U-Net and autoencoder."""
    test_pictures.write_model(folder)
    torch.manual_seed(0)
    levels = [width, 2 * width, 4 * width, 4 * width]
    diffusers.UNet2DConditionModel(sample_size=side, block_out_channels=levels, cross_attention_dim=16, attention_head_dim=8).save_pretrained(folder / "unet")
    base = 128 if width >= 320 else 64
    diffusers.AutoencoderKL(block_out_channels=[base, 2 * base, 4 * base, 4 * base], layers_per_block=2, sample_size=8 * side,
                            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4).save_pretrained(folder / "vae")
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=160, help="channels of the first stage; Stable Diffusion has 320")
    parser.add_argument("--side", type=int, default=32, help="of the latents; Stable Diffusion has 64")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plait._C.set_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = write(pathlib.Path(name) / "model", arguments.width, arguments.side)
        ours = plait.PictureGenerator.from_pretrained(folder)
        theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, arguments.side, arguments.side, generator=torch.Generator().manual_seed(0))

    def run_ours(steps):
        ours.draw("a red apple", num_inference_steps=steps, noise=noise)

    def run_theirs(steps):
        with torch.no_grad():
            theirs("a red apple", num_inference_steps=steps, latents=noise, output_type="np")

    times = {(side, steps): [] for side in ("plait", "diffusers") for steps in (1, 3)}
    for round_number in range(arguments.rounds + 1):
        for steps in (1, 3):
            for side, run in (("plait", run_ours), ("diffusers", run_theirs)):
                start = time.perf_counter()
                run(steps)
                if round_number > 0:  # the first round warms up
                    times[side, steps].append(time.perf_counter() - start)
    figures = {}
    for side in ("plait", "diffusers"):
        steps = [(three - one) / 2 for one, three in zip(times[side, 1], times[side, 3])]
        figures[side] = {"step": {"min": (min(times[side, 3]) - min(times[side, 1])) / 2, "median": statistics.median(steps)},
                         "one step and decoding": {"min": min(times[side, 1]), "median": statistics.median(times[side, 1])}}
    ratios = {part: figures["diffusers"][part]["min"] / figures["plait"][part]["min"] for part in figures["plait"]}
    result = {"settings": vars(arguments), "machine": platform.processor() or platform.machine(), "torch": torch.__version__,
              "diffusers": diffusers.__version__, "seconds": figures, "times diffusers' speed": ratios}
    (HERE / "speed.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

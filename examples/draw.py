"""A picture of a text, another one on top of it, and a part of it painted anew.

    python draw.py MODEL_FOLDER [OUTPUT_FOLDER]      a folder of Stable Diffusion 1 or 2, or one that `plait train` wrote"""
import pathlib
import sys

import numpy as np
from PIL import Image

import plait

folder = sys.argv[1]
output = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".")

# [snippet: draw]
generator = plait.PictureGenerator.from_pretrained(folder)
picture = generator("a red apple on a table", num_inference_steps=20, guidance_scale=7.5, sampler="dpm++", seed=7)
Image.fromarray(picture.numpy()).save(output / "apple.png")
# [end]

# [snippet: redraw]
greener = generator("a green apple on a table", image=picture, strength=0.6, seed=7)
Image.fromarray(greener.numpy()).save(output / "green_apple.png")

mask = np.zeros(picture.shape, np.uint8)
mask[:, mask.shape[1] // 2:] = 255  # paint the right half, keep the left one
half = generator("a window", image=picture, mask=mask, strength=1.0, seed=7)
Image.fromarray(half.numpy()).save(output / "half.png")
# [end]


# [snippet: steps]
def show(step, total, timestep, latents):
    print(f"step {step} of {total}, spread of the latents {latents.std():.2f}")
    return step < 5  # False: enough


generator.draw("a red apple", num_inference_steps=20, on_step=show)
# [end]

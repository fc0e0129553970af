"""Pictures of texts by latent diffusion."""
import os
from typing import Any, Callable, Optional, Union

from torch import Tensor

from . import _C

OnStep = Callable[[int, int, float, Tensor], Optional[bool]]


class PictureGenerator:
    """Loads a folder in diffusers' layout of Stable Diffusion 1 or 2, or one that `plait train` wrote.

    Options of every call are those of `plait draw` (PictureGenerator.options() lists them): num_inference_steps,
    guidance_scale, eta, strength, num_images_per_prompt, seed; besides negative_prompt, sampler ("ddim", "ddpm", "euler",
    "dpm++", "pndm"; default: the model's own), width and height."""

    def __init__(self, handle: Any):
        self._handle = handle

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, os.PathLike], device: Any = "cpu", dtype: Any = "float32") -> "PictureGenerator":
        return cls(_C.PictureGenerator.from_pretrained(os.fspath(name_or_path), str(device), str(dtype).removeprefix("torch.")))

    @staticmethod
    def options() -> list[dict[str, Any]]:
        """[{"name", "type", "default", "help", ...}, ...]"""
        return _C.picture_options()

    def draw(self, prompt: str, *, image: Any = None, mask: Any = None, noise: Optional[Tensor] = None,
             on_step: Optional[OnStep] = None, **options: Any) -> list[Tensor]:
        """The pictures drawn of the prompt, each uint8 RGB [H, W, 3] (np.asarray and PIL.Image.fromarray of it work as usual).

        image: draw on from this picture (path, bytes, array, tensor, PIL picture); mask: paint where it is white and keep the
        rest. noise: what to start from, instead of drawing it from the seed. on_step(step, total, timestep, latents) is
        called after every step; returning False cancels, and then there are no pictures."""
        if noise is not None and not isinstance(noise, Tensor):
            raise TypeError(f"noise: expected a torch tensor, got {type(noise).__name__}")
        pictures, _, _, _ = self._handle.draw(prompt, options, image, mask, noise, on_step)
        return pictures

    def __call__(self, prompt: str, **options: Any) -> Optional[Tensor]:
        """The first picture of `draw`; None when it was cancelled."""
        pictures = self.draw(prompt, **options)
        return pictures[0] if pictures else None

    def sampler(self, name: str = "") -> dict[str, Any]:
        """How the model goes from noise to pictures by the sampler of that name."""
        return self._handle.sampler(name)

    def prompt_ids(self, prompt: str) -> list[int]:
        """What CLIP's text encoder is given: ids of one length, start, end and padding included; a long prompt is cut off."""
        return self._handle.prompt_ids(prompt)

    @property
    def size(self) -> int:
        """The usual width and height of the pictures."""
        return self._handle.size

    @property
    def config(self) -> dict[str, Any]:
        """The U-Net's options."""
        return self._handle.config

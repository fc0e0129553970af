"""Golden files of the U-Net and the autoencoder of latent diffusion from diffusers: Stable Diffusion 1's layout, and 2's
(linear projections, heads by stage, velocity) on an uneven picture with padded texts."""
import pathlib
import tempfile

import diffusers
import torch
from common import randomise, write
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file

REFERENCE = f"diffusers {diffusers.__version__}"
generator = torch.Generator().manual_seed(1)


def stored(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(pathlib.Path(folder) / "diffusion_pytorch_model.safetensors")


def unet(name, config, ours, inputs):
    model = randomise(UNet2DConditionModel(**config))
    with torch.no_grad():
        sample = model(**inputs).sample
    write("unet_2d_condition", {**config, **ours}, stored(model), inputs, {"sample": sample}, REFERENCE, name)


def autoencoder(name, config, pixels):
    model = randomise(AutoencoderKL(**config))
    with torch.no_grad():
        latents = model.encode(pixels).latent_dist
        decoded = model.decode(latents.mean).sample
    write("autoencoder_kl", config, stored(model), {"pixel_values": pixels},
          {"mean": latents.mean, "log_variance": latents.logvar, "sample": decoded}, REFERENCE, name)


states = torch.randn(2, 5, 6, generator=generator)
unet("unet_2d_condition",
     dict(sample_size=8, down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
          block_out_channels=[8, 12], layers_per_block=1, norm_num_groups=4, cross_attention_dim=6, attention_head_dim=2),
     dict(attention_head_dim=[2]),
     dict(sample=torch.randn(2, 4, 8, 8, generator=generator), timestep=torch.tensor([3, 981]), encoder_hidden_states=states))
unet("unet_2d_condition@linear",
     dict(sample_size=8, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
          up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], block_out_channels=[4, 8], layers_per_block=2, norm_num_groups=2,
          cross_attention_dim=6, attention_head_dim=[2, 4], use_linear_projection=True, transformer_layers_per_block=1,
          flip_sin_to_cos=False, freq_shift=1),
     dict(transformer_layers_per_block=[1]),
     dict(sample=torch.randn(2, 4, 7, 5, generator=generator), timestep=torch.tensor([0, 500]), encoder_hidden_states=states,
          encoder_attention_mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])))
autoencoder("autoencoder_kl",
            dict(down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, block_out_channels=[8, 12],
                 norm_num_groups=4, sample_size=16), torch.randn(2, 3, 12, 16, generator=generator))
autoencoder("autoencoder_kl@plain",
            dict(down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3, block_out_channels=[4, 8, 8],
                 layers_per_block=1, latent_channels=3, norm_num_groups=2, use_quant_conv=False, use_post_quant_conv=False,
                 mid_block_add_attention=False), torch.randn(2, 3, 8, 8, generator=generator))

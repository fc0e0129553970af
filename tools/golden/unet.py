"""Golden files of the U-Net in two and three dimensions, and of its loss, from MONAI (`pip install --no-deps monai==1.6.1`)."""
import monai
import torch
from common import FOLDER, randomise, write
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from safetensors.torch import save_file

REFERENCE = f"monai {monai.__version__}"
generator = torch.Generator().manual_seed(1)


def golden(name, dims, channels, last, norm, classes, size):
    given = ("instance", {"affine": True}) if norm == "instance" else "batch"
    model = randomise(BasicUNet(dims, size[0], classes, (*channels, last), norm=given))
    x = torch.randn(2, *size, generator=generator)
    with torch.no_grad():
        deepest = model.conv_0(x)
        for down in (model.down_1, model.down_2, model.down_3, model.down_4):
            deepest = down(deepest)
        logits = model(x)
    write("unet", dict(spatial_dims=dims, in_channels=size[0], num_classes=classes, channels=channels, last_channels=last, norm=norm),
          model.state_dict(), {"pixel_values" if dims == 2 else "voxel_values": x}, {"logits": logits, "features": deepest},
          REFERENCE, name)


golden("unet", 2, [4, 4, 6, 8, 10], 4, "instance", 3, (2, 37, 50))
golden("unet_volume", 3, [2, 2, 4, 4, 6], 2, "batch", 2, (1, 17, 16, 18))

logits = torch.randn(3, 4, 9, 7, generator=generator).requires_grad_()
target = torch.randint(0, 3, (3, 9, 7), generator=generator)  # The last class does not occur.
loss = DiceCELoss(to_onehot_y=True, softmax=True)(logits, target[:, None])
loss.backward()
(FOLDER / "segmentation").mkdir(exist_ok=True)
save_file({"logits": logits.detach(), "target": target, "loss": loss.detach(), "gradient": logits.grad},
          FOLDER / "segmentation" / "dice_ce.safetensors", metadata={"reference": REFERENCE})
print("loss", loss.item())

"""Golden files of the 3-D ResNet: basic and bottleneck blocks, from MONAI (`pip install --no-deps monai==1.6.1`)."""
import monai
import torch
from common import randomise, write
from monai.networks.nets import ResNet

voxels = torch.randn(2, 1, 17, 16, 19, generator=torch.Generator().manual_seed(1))


def golden(name, layer_type, widths, depths, bias):
    model = randomise(ResNet(layer_type, depths, widths, spatial_dims=3, n_input_channels=1, conv1_t_size=5, conv1_t_stride=1,
                             num_classes=3, bias_downsample=bias))
    with torch.no_grad():
        x = model.maxpool(model.act(model.bn1(model.conv1(voxels))))
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = stage(x)
        logits = model(voxels)
    write("resnet3d", dict(widths=widths, depths=depths, layer_type=layer_type, stem_kernel=5, bias_downsample=bias, num_classes=3),
          model.state_dict(), {"voxel_values": voxels},
          {"last_hidden_state": x.flatten(2).transpose(1, 2), "pooled": x.mean((2, 3, 4)), "logits": logits},
          f"monai {monai.__version__}", name)


golden("resnet3d", "basic", [4, 6, 8, 10], [1, 2, 1, 1], True)
golden("resnet3d@bottleneck", "bottleneck", [3, 4, 4, 5], [1, 1, 2, 1], False)

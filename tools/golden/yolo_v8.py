"""Golden file of the YOLOv8 layout: `pip install --no-deps ultralytics==8.4.190 ultralytics-thop opencv-python-headless`. The
package is under the AGPL: it is run as it is, as a black box that is given a network's public description and pictures; our
own code was not written from it."""
import importlib.metadata

import absent
import torch
from common import randomise, write

absent.stand_in("torchvision", "polars", "psutil", "cpuinfo", "matplotlib")
from ultralytics.nn.tasks import DetectionModel  # noqa: E402

CLASSES, DEPTH, WIDTH, REG_MAX = 2, 0.33, 1 / 64, 4
up, cat = [-1, 1, "nn.Upsample", [None, 2, "nearest"]], lambda other: [[-1, other], 1, "Concat", [1]]
description = dict(
    nc=CLASSES, reg_max=REG_MAX, scales={"t": [DEPTH, WIDTH, 1024]}, scale="t",
    backbone=[[-1, 1, "Conv", [64, 3, 2]], [-1, 1, "Conv", [128, 3, 2]], [-1, 3, "C2f", [128, True]], [-1, 1, "Conv", [256, 3, 2]],
              [-1, 6, "C2f", [256, True]], [-1, 1, "Conv", [512, 3, 2]], [-1, 6, "C2f", [512, True]], [-1, 1, "Conv", [1024, 3, 2]],
              [-1, 3, "C2f", [1024, True]], [-1, 1, "SPPF", [1024, 5]]],
    head=[up, cat(6), [-1, 3, "C2f", [512]], up, cat(4), [-1, 3, "C2f", [256]], [-1, 1, "Conv", [256, 3, 2]], cat(12),
          [-1, 3, "C2f", [512]], [-1, 1, "Conv", [512, 3, 2]], cat(9), [-1, 3, "C2f", [1024]], [[15, 18, 21], 1, "Detect", [CLASSES]]])
torch.manual_seed(0)
model = randomise(DetectionModel(description, verbose=False))
# The fixed weights of the distributions' mean are none to draw.
model.model[22].dfl.conv.weight.data.copy_(torch.arange(REG_MAX).view(1, REG_MAX, 1, 1))
pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
maps = {}
for name, layer in (("p3", 15), ("p4", 18), ("p5", 21)):
    model.model[layer].register_forward_hook(lambda _, __, out, name=name: maps.update({name: out}))
with torch.no_grad():
    found = model(pixels)[0].transpose(1, 2)  # Centre, size and scores.
boxes = torch.cat([found[..., :2] - found[..., 2:4] / 2, found[..., :2] + found[..., 2:4] / 2], -1)
write("yolo_v8", dict(num_classes=CLASSES, depth=DEPTH, width=WIDTH, reg_max=REG_MAX), model.state_dict(), {"pixel_values": pixels},
      {**maps, "boxes": boxes, "scores": found[..., 4:]}, f"ultralytics {importlib.metadata.version('ultralytics')}")

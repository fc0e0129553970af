"""Golden file of the YOLOv5 layout: `pip install --no-deps yolov5==7.0.14 ultralytics==8.4.190 opencv-python-headless`. The
packages are under the AGPL: they are run as they are, as a black box that is given a network's public description and
pictures; our own code was not written from them."""
import importlib.metadata

import absent
import torch
from common import randomise, write

absent.stand_in("torchvision", "polars", "psutil", "cpuinfo", "matplotlib", "pandas", "seaborn", "thop", "git", "fire", "sahi",
                "roboflow", "boto3", "tensorboard")
from yolov5.models.yolo import DetectionModel  # noqa: E402

CLASSES, DEPTH, WIDTH = 2, 0.33, 1 / 64
anchors = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
up, cat = [-1, 1, "nn.Upsample", ["None", 2, "nearest"]], lambda other: [[-1, other], 1, "Concat", [1]]
description = dict(
    nc=CLASSES, depth_multiple=DEPTH, width_multiple=WIDTH, anchors=anchors,
    backbone=[[-1, 1, "Conv", [64, 6, 2, 2]], [-1, 1, "Conv", [128, 3, 2]], [-1, 3, "C3", [128]], [-1, 1, "Conv", [256, 3, 2]],
              [-1, 6, "C3", [256]], [-1, 1, "Conv", [512, 3, 2]], [-1, 9, "C3", [512]], [-1, 1, "Conv", [1024, 3, 2]],
              [-1, 3, "C3", [1024]], [-1, 1, "SPPF", [1024, 5]]],
    head=[[-1, 1, "Conv", [512, 1, 1]], up, cat(6), [-1, 3, "C3", [512, False]], [-1, 1, "Conv", [256, 1, 1]], up, cat(4),
          [-1, 3, "C3", [256, False]], [-1, 1, "Conv", [256, 3, 2]], cat(14), [-1, 3, "C3", [512, False]],
          [-1, 1, "Conv", [512, 3, 2]], cat(10), [-1, 3, "C3", [1024, False]], [[17, 20, 23], 1, "Detect", [CLASSES, anchors]]])
torch.manual_seed(0)
model = randomise(DetectionModel(description))
pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
maps = {}
for name, layer in (("p3", 17), ("p4", 20), ("p5", 23)):
    model.model[layer].register_forward_hook(lambda _, __, out, name=name: maps.update({name: out}))
with torch.no_grad():
    found, levels = model(pixels)  # Centre, size, presence and classes; log-odds [B, 3, h, w, 5 + C] of each level.
boxes = torch.cat([found[..., :2] - found[..., 2:4] / 2, found[..., :2] + found[..., 2:4] / 2], -1)
write("yolo_v5", dict(num_classes=CLASSES, depth=DEPTH, width=WIDTH), model.state_dict(), {"pixel_values": pixels},
      {**maps, "logits": torch.cat([x.flatten(1, 3) for x in levels], 1), "boxes": boxes, "scores": found[..., 4:5] * found[..., 5:]},
      f"yolov5 {importlib.metadata.version('yolov5')}")

"""Golden files of YOLOX from its authors' code as packaged by Pixeltable (`pip install --no-deps pixeltable-yolox==0.4.3
opencv-python-headless`): yolox.safetensors and yolox@depthwise.safetensors with seeded tiny networks, and
detection/yolox.safetensors with what its post-processing keeps of overlapping boxes and what its training loss (SimOTA)
gives, with the gradient. torchvision's suppression is OpenCV's here; what is never called is empty."""
import importlib.metadata
import sys
import types

import cv2
import torch

sys.path.append(sys.path.pop(0))  # Behind the package of the same name.
import absent  # noqa: E402
from common import FOLDER, randomise, write  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


def nms(boxes, scores, threshold):
    sizes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), 0.0, threshold)
    return torch.as_tensor(kept, dtype=torch.long).reshape(-1)


def batched_nms(boxes, scores, classes, threshold):
    shift = classes[:, None] * (boxes.max() + 1)
    return nms(boxes + shift, scores, threshold)


torchvision = types.ModuleType("torchvision")
torchvision.ops = types.SimpleNamespace(nms=nms, batched_nms=batched_nms)
sys.modules["torchvision"] = torchvision
absent.stand_in("loguru", "tabulate", "psutil", "thop", "pycocotools", "tensorboard")
from yolox.models import YoloPafpn, YoloxHead, YoloxModule  # noqa: E402
from yolox.utils import postprocess  # noqa: E402

REFERENCE = f"pixeltable-yolox {importlib.metadata.version('pixeltable-yolox')}"
CLASSES = 3


def corners(boxes):
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def network(depth, width, depthwise):
    torch.manual_seed(0)
    model = YoloxModule(YoloPafpn(depth, width, depthwise=depthwise), YoloxHead(CLASSES, width, depthwise=depthwise))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03
    return randomise(model)


def golden(name, depth, width, depthwise, size):
    model = network(depth, width, depthwise)
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = model.backbone(pixels)
        found = model(pixels)
        head, levels = model.head, []
        for i, x in enumerate(maps):
            x = head.stems[i](x)
            kind, place = head.cls_convs[i](x), head.reg_convs[i](x)
            levels.append(torch.cat([head.reg_preds[i](place), head.obj_preds[i](place), head.cls_preds[i](kind)], 1).flatten(2))
        logits = torch.cat(levels, 2).transpose(1, 2)
    write("yolox", dict(num_classes=CLASSES, depth=depth, width=width, depthwise=depthwise), model.state_dict(),
          {"pixel_values": pixels},
          {"p3": maps[0], "p4": maps[1], "p5": maps[2], "logits": logits, "boxes": corners(found[..., :4]),
           "scores": found[..., 4:5] * found[..., 5:]}, REFERENCE, name)


def detections():
    """Boxes in clusters, so that many overlap by more than the thresholds and many by less."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.rand(2, 12, 2, generator=generator) * 200
    centres = centres.repeat_interleave(15, 1) + 9 * torch.randn(2, 180, 2, generator=generator)
    sizes = 20 + 40 * torch.rand(2, 180, 2, generator=generator)
    predictions = torch.cat([centres, sizes, torch.rand(2, 180, 1 + CLASSES, generator=generator)], 2)
    tensors = {"inputs.boxes": corners(predictions[..., :4]), "inputs.scores": predictions[..., 4:5] * predictions[..., 5:]}
    for key, confidence, overlap, agnostic in (("a", 0.25, 0.45, False), ("b", 0.05, 0.65, False), ("c", 0.1, 0.5, True),
                                               ("d", 0.999, 0.5, False)):
        tensors[f"options.{key}"] = torch.tensor([confidence, overlap, float(agnostic)], dtype=torch.float64)
        for i, rows in enumerate(postprocess(predictions.clone(), CLASSES, confidence, overlap, agnostic)):
            rows = torch.zeros(0, 7) if rows is None else rows
            tensors[f"outputs.{key}.{i}"] = torch.cat([rows[:, :4], rows[:, 4:5] * rows[:, 5:6], rows[:, 6:7]], 1)
        print(key, [len(tensors[f"outputs.{key}.{i}"]) for i in range(2)])
    return tensors


def losses():
    """The head's loss of given maps of log-odds: its convolutions are replaced by the identity."""
    head = YoloxHead(CLASSES, 1 / 64)
    sizes, generator = ((8, 12), (4, 6), (2, 3)), torch.Generator().manual_seed(3)
    maps = [torch.randn(3, 5 + CLASSES, *size, generator=generator).mul(0.7).requires_grad_() for size in sizes]
    pick = [lambda x, part=part: x[:, part] for part in (slice(0, 4), slice(4, 5), slice(5, None))]
    same = [torch.nn.Identity()] * 3
    parts = types.SimpleNamespace(stems=same, cls_convs=same, reg_convs=same, reg_preds=[pick[0]] * 3, obj_preds=[pick[1]] * 3,
                                  cls_preds=[pick[2]] * 3)
    for key, value in vars(parts).items():
        delattr(head, key)
        setattr(head, key, value)
    head.train()
    # Class, left, top, right, bottom; the third picture is empty, and two objects of the first share a place.
    objects = [[[0, 10, 8, 40, 44], [2, 12, 10, 41, 45], [1, 60, 20, 92, 60]], [[1, 2, 2, 9, 12], [0, 30, 30, 90, 62]], []]
    targets = torch.zeros(3, 4, 5)
    padded = torch.full((3, 4, 5), -1.0)
    for i, rows in enumerate(objects):
        for j, row in enumerate(rows):
            kind, left, top, right, bottom = row
            targets[i, j] = torch.tensor([kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
            padded[i, j] = torch.tensor(row, dtype=torch.float)
    loss = head(maps, targets, torch.zeros(3, 3, 64, 96))[0]
    loss.backward()
    flat = lambda xs: torch.cat([x.flatten(2) for x in xs], 2).transpose(1, 2).detach()
    print("loss", loss.item())
    return {"loss.logits": flat(maps), "loss.targets": padded, "loss.value": loss.detach(),
            "loss.gradient": flat([m.grad for m in maps])}


golden("yolox", 0.33, 1 / 64, False, (64, 32))
golden("yolox@depthwise", 0.67, 1 / 64, True, (32, 32))
(FOLDER / "detection").mkdir(exist_ok=True)
tensors = {k: v.contiguous() for k, v in (detections() | losses()).items()}
save_file(tensors, FOLDER / "detection" / "yolox.safetensors", metadata={"reference": REFERENCE})

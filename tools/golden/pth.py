"""Writes tests/golden/weights/: small files by torch.save and, for each, the same tensors as safetensors."""

import collections
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/weights"


def flatten(value, prefix=""):
    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))


def write(name, value, **options):
    torch.save(value, OUT / f"{name}.pth", **options)
    tensors = {k: v.detach().clone().contiguous() for k, v in flatten(value)}
    save_file(tensors, OUT / f"{name}.safetensors")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    write("state_dict", module.state_dict())

    dtypes = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32,
              torch.int16, torch.int8, torch.uint8, torch.bool]
    write("dtypes", {str(t).split(".")[1]: torch.arange(6).view(2, 3).to(t) for t in dtypes})

    base = torch.randn(4, 6)
    views = {"base": base, "row": base[2], "transposed": base.t(), "slice": base[1:3, 2:5], "stepped": base[:, ::2],
             "expanded": base[:1].expand(5, 6), "scalar": base[0, 3], "empty": torch.zeros(0, 7),
             "last": base.flatten()[23:]}
    write("views", views)
    write("views_old", views, _use_new_zipfile_serialization=False)

    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    checkpoint = collections.OrderedDict(
        epoch=3, best=0.25, name="模型", done=None, big=2**70, blob=b"\x00\xff", shape=torch.Size([2, 3]),
        classes={"a", "b"}, device=torch.device("cpu"),
        model=module.state_dict(), optimizer=optimizer.state_dict(),
        extra=[torch.nn.Parameter(torch.ones(2)), (torch.zeros(1), {"deep": torch.full((2, 1), 7)})])
    write("checkpoint", checkpoint)
    write("checkpoint_old", checkpoint, _use_new_zipfile_serialization=False)
    write("protocol4", checkpoint, pickle_protocol=4)

    torch.save({"w": torch.arange(5).to(torch.uint16)}, OUT / "uint16.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), OUT / "torchscript.pt")


if __name__ == "__main__":
    main()

"""Golden files of ResNet: bottleneck blocks with a classifier, and basic blocks."""
import torch
import transformers
from common import published_state, randomise, rename, write
from transformers import ResNetConfig, ResNetForImageClassification

pixels = torch.randn(2, 3, 37, 30, generator=torch.Generator().manual_seed(1))


def golden(config, name):
    model = randomise(ResNetForImageClassification(ResNetConfig(**config, num_labels=5)))
    with torch.no_grad():
        out = model.resnet(pixels)
        logits = model(pixels).logits
    weights = rename(published_state(model), [(r"^resnet\.", ""), (r"^classifier\.1\.", "classifier.")])
    write("resnet", {**config, "num_classes": 5}, weights, {"pixel_values": pixels},
          {"last_hidden_state": out.last_hidden_state.flatten(2).transpose(1, 2),
           "pooled": out.pooler_output.flatten(1), "logits": logits},
          f"transformers {transformers.__version__}", name)


golden(dict(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 2]), "resnet")
golden(dict(embedding_size=8, hidden_sizes=[8, 12], depths=[2, 1], layer_type="basic", downsample_in_first_stage=True),
       "resnet@basic")

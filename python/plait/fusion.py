"""The fusion algorithms, each usable alone: batched tensors in and out, differentiable, masked for missing inputs."""
import torch

from . import _C
from ._C import dynamic_modality_weighting, dynamic_routing_gate, modality_aware_attention, modality_importance


class Layer(torch.nn.Module):
    """A registered C++ module as a torch.nn.Module: its parameters are the C++ tensors, so optimisers, state_dict and
    autograd work on them directly. forward takes and gives named tensors."""

    def __init__(self, config, seed=0):
        super().__init__()
        self._model = _C.create_model(config)
        self._model.initialize(seed)
        self._model.train(True)
        for name, tensor in self._model.parameters().items():
            # Not torch.nn.Parameter: that would make another tensor, and C++ would not see what the optimiser does.
            self._parameters[name.replace(".", "__")] = tensor.requires_grad_(True)
        for name, tensor in self._model.buffers().items():
            self._buffers[name.replace(".", "__")] = tensor

    def train(self, mode=True):
        self._model.train(mode)
        return super().train(mode)

    def run(self, **inputs):
        return self._model.forward({k: v for k, v in inputs.items() if v is not None})

    @property
    def config(self):
        return self._model.config()


class _Fusion(Layer):
    _type = ""

    def __init__(self, streams, width=256, seed=0, **options):
        super().__init__({"type": self._type, "streams": streams, "width": width, **options}, seed)

    def forward(self, features, present=None, quality=None, tokens=None, token_stream=None, token_mask=None):
        """features [B, M, D], present [B, M] bool, quality [B, M] → {"fused": [B, D], "weights": [B, M]}."""
        if present is None:
            present = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        if quality is None:
            quality = present.to(features.dtype)
        return self.run(features=features, present=present, quality=quality, tokens=tokens, token_stream=token_stream,
                        token_mask=token_mask)


class Concatenation(_Fusion):
    _type = "concatenation"


class DynamicModalityWeighting(_Fusion):
    _type = "dma"


class DynamicRoutingGate(_Fusion):
    _type = "drg"


class ModalityAwareAttention(_Fusion):
    _type = "modality_attention"


class CrossModalBridge(_Fusion):
    _type = "bridge"


class ProgressiveFusion(_Fusion):
    _type = "progressive"


class CrossModalAttention(Layer):
    """Text attends to picture patches: text [B, T, text_dim], image [B, N, image_dim] → [B, T, embed_dim]."""

    def __init__(self, text_dim, image_dim, embed_dim=512, num_heads=8, seed=0):
        super().__init__({"type": "cross_modal_attention", "text_dim": text_dim, "image_dim": image_dim, "embed_dim": embed_dim,
                          "num_heads": num_heads}, seed)

    def forward(self, text, image, image_mask=None):
        outputs = self.run(text=text, image=image, image_mask=image_mask)
        return outputs["output"] if "output" in outputs else next(iter(outputs.values()))


__all__ = ["Concatenation", "CrossModalAttention", "CrossModalBridge", "DynamicModalityWeighting", "DynamicRoutingGate", "Layer",
           "ModalityAwareAttention", "ProgressiveFusion", "dynamic_modality_weighting", "dynamic_routing_gate",
           "modality_aware_attention", "modality_importance"]

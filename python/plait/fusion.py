"""The fusion algorithms, each usable alone: batched tensors in and out, differentiable, masked for missing inputs.

B items, M streams, D width, T and S tokens, H heads. What stands in absent rows (NaN included) never reaches an output.
"""
from collections.abc import Mapping
from typing import Any, Callable, Optional, Union, cast

import torch
from torch import Tensor

from . import _C

Features = Union[Tensor, Mapping[str, Tensor]]


def _stack(features: Features) -> Tensor:
    """[B, M, D] as it is, or {stream: [B, D]} in the order of the mapping."""
    if isinstance(features, Mapping):
        return torch.stack(list(features.values()), dim=1)
    return features


def dynamic_modality_weighting(features: Features, quality: Optional[Tensor] = None, present: Optional[Tensor] = None,
                               temperature: Union[Tensor, float, None] = None,
                               bias: Optional[Tensor] = None) -> tuple[Tensor, Tensor]:
    """Weights streams by their quality: w = softmax over present streams of log(quality)/temperature + bias.

    features [B, M, D] (or {stream: [B, D]}), quality [B, M] in [0, 1] (none: all alike), present [B, M] bool, temperature
    above 0 (none: 1, so that weights are proportional to quality), bias [M] → (fused [B, D], weights [B, M]).
    """
    features = _stack(features)
    if quality is None:
        quality = torch.ones(features.shape[:2], device=features.device)
    if temperature is not None and not isinstance(temperature, Tensor):
        temperature = torch.tensor(float(temperature), device=features.device)
    return _C.dynamic_modality_weighting(features, quality, present, temperature, bias)


def dynamic_routing_gate(features: Features, scores: Tensor, present: Optional[Tensor] = None) -> tuple[Tensor, Tensor]:
    """Weights streams by a gate's scores: w = softmax over present streams of scores.

    features [B, M, D] (or {stream: [B, D]}), scores [B, M], present [B, M] bool → (fused [B, D], weights [B, M]).
    """
    return _C.dynamic_routing_gate(_stack(features), scores, present)


def modality_importance(scores: Union[Tensor, Mapping[str, Tensor]], present: Optional[Tensor] = None) -> Tensor:
    """The share of each stream over a batch, [M], summing to 1.

    scores [B, M] (or {stream: [B]}): quality, gate weights or any other measure of at least 0; normalised within each item
    over its present streams, then averaged.
    """
    if isinstance(scores, Mapping):
        scores = torch.stack(list(scores.values()), dim=1)
    return _C.modality_importance(scores, present)


def modality_aware_attention(q: Tensor, k: Tensor, v: Tensor, query_stream: Tensor, key_stream: Tensor, beta: Union[Tensor, float],
                             reliability: Optional[Tensor] = None, key_mask: Optional[Tensor] = None, heads: int = 1) -> Tensor:
    """softmax(QKᵀ/√d + M)V with M_ij = −beta·[query_stream_i ≠ key_stream_j] + log(reliability_j).

    q [B, T, D], k and v [B, S, D], query_stream [T] and key_stream [S] int64, beta [] or [H], reliability [B, S] in [0, 1],
    key_mask [B, S] bool → [B, T, D].
    """
    if not isinstance(beta, Tensor):
        beta = torch.tensor(float(beta), device=q.device)
    return _C.modality_aware_attention(q, k, v, query_stream, key_stream, beta, reliability, key_mask, heads)


class Layer(torch.nn.Module):
    """A registered C++ module as a torch.nn.Module: its parameters are the C++ tensors themselves, under their published
    names, so optimisers, state_dict, load_state_dict and autograd work on them directly.

    `config` is {"type": name of plait.registered_models(), ...}; `seed` draws the weights.
    """

    def __init__(self, config: Mapping[str, Any], seed: int = 0):
        super().__init__()
        self._model = _C.create_model(dict(config))
        self._model.initialize(seed)
        self._model.train(True)
        for name, tensor in self._model.parameters().items():
            tensor.requires_grad_(True)
            # torch.nn.Parameter(tensor) would be another tensor, and C++ would not see what happens to it. This mark is what
            # makes isinstance(tensor, torch.nn.Parameter) true.
            tensor._is_param = True
            self._owner(name)._parameters[name.rpartition(".")[2]] = cast(torch.nn.Parameter, tensor)
        for name, tensor in self._model.buffers().items():
            self._owner(name)._buffers[name.rpartition(".")[2]] = tensor

    def _owner(self, name: str) -> torch.nn.Module:
        module: torch.nn.Module = self
        for part in name.split(".")[:-1]:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = cast(torch.nn.Module, module._modules[part])
        return module

    def train(self, mode: bool = True) -> "Layer":
        self._model.train(mode)
        return super().train(mode)

    def run(self, **inputs: Optional[Tensor]) -> dict[str, Tensor]:
        """The C++ forward pass: named tensors in and out; inputs that are None are left out."""
        return self._model.forward({k: v for k, v in inputs.items() if v is not None})

    forward: Callable[..., Any] = run

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.config.items())

    @property
    def config(self) -> dict[str, Any]:
        """Every option, defaults included."""
        return self._model.config()


class _Fusion(Layer):
    _type = ""

    def __init__(self, streams: int, width: int = 256, seed: int = 0, **options: Any):
        super().__init__({"type": self._type, "streams": streams, "width": width, **options}, seed)

    def forward(self, features: Features, present: Optional[Tensor] = None, quality: Optional[Tensor] = None,
                tokens: Optional[Tensor] = None, token_stream: Optional[Tensor] = None,
                token_mask: Optional[Tensor] = None) -> dict[str, Tensor]:
        """features [B, M, D] (or {stream: [B, D]}), present [B, M] bool, quality [B, M] in [0, 1], tokens [B, T, D] with
        token_stream [T] int64 and token_mask [B, T] bool → {"fused": [B, D], "weights": [B, M], ...}."""
        features = _stack(features)
        if present is None:
            present = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        return self.run(features=features, present=present, quality=quality, tokens=tokens, token_stream=token_stream,
                        token_mask=token_mask)


class Concatenation(_Fusion):
    """An MLP over all streams side by side; the simplest baseline."""

    _type = "concatenation"


class DynamicModalityWeighting(_Fusion):
    """dynamic_modality_weighting with a learned temperature and bias."""

    _type = "dma"


class DynamicRoutingGate(_Fusion):
    """dynamic_routing_gate whose scores come from the features and their quality."""

    _type = "drg"


class ModalityAwareAttention(_Fusion):
    """A Transformer over all streams' tokens with the bias of modality_aware_attention."""

    _type = "modality_attention"


class CrossModalBridge(_Fusion):
    """Shared latents that attend to all streams."""

    _type = "bridge"


class ProgressiveFusion(_Fusion):
    """Each stream's own Transformer, then one across the streams."""

    _type = "progressive"


class CrossModalAttention(Layer):
    """Text attends to picture patches: text [B, T, text_dim], image [B, N, image_dim] → [B, T, embed_dim]."""

    def __init__(self, text_dim: int, image_dim: int, embed_dim: int = 512, num_heads: int = 8, seed: int = 0):
        super().__init__({"type": "cross_modal_attention", "text_dim": text_dim, "image_dim": image_dim, "embed_dim": embed_dim,
                          "num_heads": num_heads}, seed)

    def forward(self, text: Tensor, image: Tensor, image_mask: Optional[Tensor] = None) -> Tensor:
        """image_mask [B, N]: true for real image tokens (none: all are)."""
        return self.run(text=text, image=image, image_mask=image_mask)["output"]


__all__ = ["Concatenation", "CrossModalAttention", "CrossModalBridge", "DynamicModalityWeighting", "DynamicRoutingGate", "Layer",
           "ModalityAwareAttention", "ProgressiveFusion", "dynamic_modality_weighting", "dynamic_routing_gate",
           "modality_aware_attention", "modality_importance"]

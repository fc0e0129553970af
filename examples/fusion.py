"""Fusion layers alone, as torch modules: differentiable, batched, masked for missing inputs."""
import torch

from plait import fusion

# [snippet: fusion]
gate = fusion.DynamicRoutingGate(streams=2, width=64)
features = torch.randn(3, 2, 64, requires_grad=True)  # 3 items, 2 streams
present = torch.tensor([[True, True], [True, True], [True, False]])
quality = torch.tensor([[0.9, 0.9], [0.9, 0.1], [0.9, 0.0]])
out = gate(features, present, quality)
print(out["weights"])  # the damaged stream weighs little, the absent one nothing
out["fused"].sum().backward()
# [end]

assert out["weights"][2, 1] == 0 and out["weights"][1, 1] < out["weights"][0, 1]

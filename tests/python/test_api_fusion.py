"""plait.fusion: C++ layers and functions under torch's autograd and optimisers, against formulas written in torch."""
import math

import pytest
import torch

import plait
from plait import fusion

B, M, D = 5, 3, 16


def inputs(seed=0, grad=False):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(B, M, D, generator=g).requires_grad_(grad)
    quality = torch.rand(B, M, generator=g).clamp_min(0.05).requires_grad_(grad)
    present = torch.tensor([[True] * 3, [True, False, True], [False, True, False], [True, True, False], [True] * 3])
    return features, quality, present


def reference_weighting(features, quality, present, temperature=1.0, bias=0.0):
    scores = (quality.log() / temperature + bias).masked_fill(~present, -math.inf)
    weights = scores.softmax(-1)
    return (weights.unsqueeze(-1) * features).sum(1), weights


def test_weighting_equals_the_formula_with_gradients():
    ours, theirs = inputs(grad=True), inputs(grad=True)
    bias = torch.tensor([0.3, -0.2, 0.1], requires_grad=True)
    bias2 = bias.detach().clone().requires_grad_(True)
    fused, weights = fusion.dynamic_modality_weighting(*ours, temperature=0.7, bias=bias)
    expected, expected_weights = reference_weighting(*theirs, temperature=0.7, bias=bias2)
    torch.testing.assert_close(fused, expected)
    torch.testing.assert_close(weights, expected_weights)
    fused.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours[0].grad, theirs[0].grad)
    torch.testing.assert_close(ours[1].grad, theirs[1].grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bias.grad, bias2.grad, rtol=1e-4, atol=1e-5)


def test_weighting_without_quality_is_the_mean_of_what_is_present():
    features, _, present = inputs()
    fused, weights = fusion.dynamic_modality_weighting(features, present=present)
    share = present / present.sum(1, keepdim=True)
    torch.testing.assert_close(weights, share)
    torch.testing.assert_close(fused, (share.unsqueeze(-1) * features).sum(1))


def test_streams_may_come_as_a_mapping():
    features, quality, _ = inputs()
    by_name = {name: features[:, i] for i, name in enumerate(["text", "image", "audio"])}
    for ours, theirs in zip(fusion.dynamic_modality_weighting(by_name, quality), fusion.dynamic_modality_weighting(features, quality)):
        assert torch.equal(ours, theirs)
    shares = fusion.modality_importance({name: quality[:, i] for i, name in enumerate(by_name)})
    torch.testing.assert_close(shares, (quality / quality.sum(1, keepdim=True)).mean(0))
    assert shares.sum().item() == pytest.approx(1)


def test_absent_rows_reach_nothing_not_even_as_nan():
    features, quality, present = inputs()
    broken = features.masked_fill(~present.unsqueeze(-1), math.nan).requires_grad_(True)
    fused, _ = fusion.dynamic_routing_gate(broken, quality, present)
    expected, _ = fusion.dynamic_routing_gate(features, quality, present)
    torch.testing.assert_close(fused, expected)
    fused.sum().backward()
    assert broken.grad.isfinite().all()
    assert (broken.grad[~present] == 0).all()


def test_routing_gate_is_a_softmax():
    features, scores, _ = inputs(grad=True)
    fused, weights = fusion.dynamic_routing_gate(features, scores)
    torch.testing.assert_close(weights, scores.softmax(-1))
    (grad,) = torch.autograd.grad(fused.sum(), scores)
    (expected,) = torch.autograd.grad((scores.softmax(-1).unsqueeze(-1) * features).sum(), scores)
    torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-5)


def test_modality_aware_attention_equals_the_formula():
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, n, 8, generator=g) for n in (4, 6, 6))
    streams_q, streams_k = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 2, 2])
    reliability = torch.rand(2, 6, generator=g) * 0.9 + 0.1
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    ours = fusion.modality_aware_attention(q, k, v, streams_q, streams_k, 0.5, reliability, mask, heads=2)

    def heads(x):
        return x.view(2, -1, 2, 4).transpose(1, 2)

    scores = heads(q) @ heads(k).transpose(-1, -2) / math.sqrt(4)
    scores = scores - 0.5 * (streams_q[:, None] != streams_k[None]).float() + reliability.log()[:, None, None]
    scores = scores.masked_fill(~mask[:, None, None], -1e4)
    expected = (scores.softmax(-1) @ heads(v)).transpose(1, 2).reshape(2, 4, 8)
    torch.testing.assert_close(ours, expected)


def test_cross_modal_attention_has_the_documented_shape():
    layer = fusion.CrossModalAttention(768, 1024, 512, 8)
    assert layer(torch.randn(2, 7, 768), torch.randn(2, 49, 1024)).shape == (2, 7, 512)


def test_cross_modal_attention_equals_torch():
    layer = fusion.CrossModalAttention(text_dim=24, image_dim=40, embed_dim=32, num_heads=4, seed=5)
    theirs = torch.nn.MultiheadAttention(32, 4, kdim=40, vdim=40, batch_first=True)
    query = torch.nn.Linear(24, 32)  # their query is as wide as the output; ours is projected from the text's width
    weights = layer.state_dict()
    with torch.no_grad():
        query.weight.copy_(weights["q_proj.weight"])
        query.bias.copy_(weights["q_proj.bias"])
        theirs.q_proj_weight.copy_(torch.eye(32))
        theirs.k_proj_weight.copy_(weights["k_proj.weight"])
        theirs.v_proj_weight.copy_(weights["v_proj.weight"])
        theirs.in_proj_bias.copy_(torch.cat([torch.zeros(32), weights["k_proj.bias"], weights["v_proj.bias"]]))
        theirs.out_proj.weight.copy_(weights["out_proj.weight"])
        theirs.out_proj.bias.copy_(weights["out_proj.bias"])
    g = torch.Generator().manual_seed(2)
    text, image = torch.randn(3, 6, 24, generator=g), torch.randn(3, 10, 40, generator=g)
    mask = torch.ones(3, 10, dtype=torch.bool)
    mask[0, 7:] = False
    ours_text, their_text = text.clone().requires_grad_(True), text.clone().requires_grad_(True)
    ours = layer(ours_text, image, mask)
    expected, _ = theirs(query(their_text), image, image, key_padding_mask=~mask)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    ours.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(ours_text.grad, their_text.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(layer.k_proj.weight.grad, theirs.k_proj_weight.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(layer.out_proj.bias.grad, theirs.out_proj.bias.grad, rtol=1e-3, atol=1e-6)


FUSIONS = [fusion.Concatenation, fusion.DynamicModalityWeighting, fusion.DynamicRoutingGate, fusion.ModalityAwareAttention,
           fusion.CrossModalBridge, fusion.ProgressiveFusion]


@pytest.mark.parametrize("kind", FUSIONS, ids=lambda kind: kind.__name__)
def test_every_fusion_layer_learns(kind):
    layer = kind(M, width=D, seed=1)
    features, quality, present = inputs()
    target = torch.randn(B, D, generator=torch.Generator().manual_seed(9))
    tokens = features.detach().clone()
    extra = {"tokens": tokens, "token_stream": torch.arange(M), "token_mask": present}
    layer.eval()
    out = layer(features, present, quality, **extra)
    assert out["fused"].shape == (B, D)
    torch.testing.assert_close(out["weights"].sum(1), torch.ones(B))
    assert (out["weights"][~present] == 0).all()
    parameters = list(layer.parameters())
    assert parameters and all(isinstance(p, torch.nn.Parameter) and p.is_leaf for p in parameters)
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)

    def loss():
        return (layer(features, present, quality, **extra)["fused"] - target).square().mean()

    first = loss()
    for _ in range(10):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss() < first


def test_parameters_are_the_library_s_own_memory():
    layer = fusion.CrossModalAttention(8, 8, 16, 2)
    shared = layer._model.parameters()
    names = dict(layer.named_parameters())
    assert names.keys() == shared.keys() == {f"{p}_proj.{k}" for p in ("q", "k", "v", "out") for k in ("weight", "bias")}
    assert all(names[n].data_ptr() == shared[n].data_ptr() for n in names)
    text, image = torch.randn(1, 2, 8), torch.randn(1, 3, 8)
    with torch.no_grad():
        layer.out_proj.weight.zero_()
        layer.out_proj.bias.fill_(7)
    assert (layer(text, image) == 7).all()


def test_tensors_cross_without_a_copy():
    cache = plait.cache.FeatureCache()
    kept = torch.randn(4, 8)
    cache["k"] = {"pooled": kept}
    assert cache["k"]["pooled"].data_ptr() == kept.data_ptr()
    layer = fusion.CrossModalAttention(8, 8, 16, 2)
    before = layer.q_proj.weight.data_ptr()
    layer.double().float()  # torch swaps the memory behind the parameter, and the library sees it
    assert layer._model.parameters()["q_proj.weight"].data_ptr() == layer.q_proj.weight.data_ptr() != before


def test_state_dict_moves_between_layers():
    a, b = (fusion.DynamicRoutingGate(M, width=D, seed=s) for s in (1, 2))
    features, quality, present = inputs()
    a.eval(), b.eval()
    before = b(features, present, quality)["weights"]
    assert not torch.allclose(a(features, present, quality)["weights"], before)
    assert b.load_state_dict(a.state_dict()).missing_keys == []
    assert torch.equal(a(features, present, quality)["weights"], b(features, present, quality)["weights"])
    double = fusion.DynamicRoutingGate(M, width=D, seed=1).double()
    assert double(features.double(), present, quality.double())["fused"].dtype == torch.float64


def test_seed_decides_the_weights():
    same, other = fusion.CrossModalAttention(8, 8, 16, 2, seed=4), fusion.CrossModalAttention(8, 8, 16, 2, seed=5)
    again = fusion.CrossModalAttention(8, 8, 16, 2, seed=4)
    assert torch.equal(same.q_proj.weight, again.q_proj.weight)
    assert not torch.equal(same.q_proj.weight, other.q_proj.weight)


def test_a_layer_fits_into_a_torch_module():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fusion = fusion.DynamicRoutingGate(M, width=D)
            self.head = torch.nn.Linear(D, 2)

        def forward(self, x):
            return self.head(self.fusion(x)["fused"])

    net = Net()
    names = [n for n, _ in net.named_parameters()]
    assert "head.weight" in names and any(n.startswith("fusion.") for n in names)
    net(torch.randn(2, M, D)).sum().backward()
    assert all(p.grad is not None for n, p in net.named_parameters() if n.startswith("head"))
    net.eval()
    assert not net.fusion.training


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match=r"text \[B, T, 8\].*got"):
        fusion.CrossModalAttention(8, 8, 16, 2)(torch.randn(1, 2, 9), torch.randn(1, 3, 8))
    with pytest.raises(ValueError, match="embed_dim"):
        fusion.CrossModalAttention(8, 8, 15, 2)
    with pytest.raises(ValueError, match="drg"):
        fusion.Layer({"type": "gate"})
    with pytest.raises(ValueError, match="hiden"):
        fusion.DynamicRoutingGate(3, width=8, hiden=4)
    with pytest.raises(ValueError):
        fusion.DynamicRoutingGate(M, width=D)(torch.randn(2, M + 1, D))
    with pytest.raises(ValueError):  # an item without any stream
        fusion.DynamicRoutingGate(M, width=D)(torch.randn(1, M, D), present=torch.zeros(1, M, dtype=torch.bool))

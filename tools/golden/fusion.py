"""Golden files of the fusion layers: their written formulas in plain PyTorch, with torch.nn.MultiheadAttention and
torch.nn.TransformerEncoderLayer as the references of the attention blocks."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from common import randomise, write

# The fused inference path does not take float masks of this form.
torch.backends.mha.set_fastpath_enabled(False)
REFERENCE = f"torch {torch.__version__.split('+')[0]}"
B, M, D, T, K, H = 4, 3, 8, 7, 5, 2
generator = torch.Generator().manual_seed(3)
features = torch.randn(B, M, D, generator=generator)
present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 1, 1]], dtype=torch.bool)
quality = torch.rand(B, M, generator=generator)
logits = 2 * torch.randn(B, M, K, generator=generator)
task = torch.tensor([0, 1, 1, 0])
tokens = torch.randn(B, T, D, generator=generator)
token_stream = torch.tensor([0, 0, 1, 2, 1, 2, 2])
token_mask = present[:, token_stream].clone()
token_mask[0, 5] = token_mask[3, 2] = False
pooled_inputs = {"features": features, "present": present, "quality": quality}
token_inputs = {**pooled_inputs, "tokens": tokens, "token_stream": token_stream, "token_mask": token_mask}

# All tokens that attention sees: the pooled features first.
x_all = torch.cat([features * present[..., None], tokens * token_mask[..., None]], 1)
stream_all = torch.cat([torch.arange(M), token_stream])
mask_all = torch.cat([present, token_mask], 1)
quality_all = quality[:, stream_all]
S = M + T


def among_present(scores):
    return torch.softmax(scores.masked_fill(~present, -torch.inf), 1)


def combine(weights, values):
    return (weights[..., None] * values.masked_fill(~present[..., None], 0)).sum(1)


def share(mass):
    """[B, S] attention received by each token → [B, M]."""
    return torch.stack([(mass * (stream_all == m)).sum(1) for m in range(M)], 1)


def per_head(bias):
    """[B, Hb, T, S] → [B * H, T, S] as torch.nn.MultiheadAttention wants it."""
    return bias.expand(B, H, bias.shape[2], S).reshape(B * H, bias.shape[2], S)


def with_mask(bias):
    return bias.masked_fill(~mask_all[:, None, None, :], -torch.inf)


class Parameters(nn.Module):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))


def layer():
    return nn.TransformerEncoderLayer(D, H, 4 * D, 0.0, F.gelu, batch_first=True, norm_first=True)


def attend(module, q, kv, bias):
    """A plain torch.nn.MultiheadAttention with an additive mask → output and attention mass per key [B, S]."""
    out, weights = module(q, kv, kv, attn_mask=per_head(bias), average_attn_weights=False)
    return out, weights.mean((1, 2))


@torch.no_grad()
def concatenation():
    net = Parameters(placeholder=(M, D))
    net.input, net.output = nn.Linear(M * D, 12), nn.Linear(12, D)
    randomise(net)
    x = torch.where(present[..., None], features, net.placeholder)
    fused = net.output(F.gelu(net.input(x.flatten(1))))
    blocks = net.input.weight.split(D, 1)
    norms = torch.stack([(x[:, m] @ blocks[m].T).norm(dim=1) for m in range(M)], 1) * present
    write("concatenation", dict(streams=M, width=D, hidden=12, dropout=0.0), net.state_dict(), pooled_inputs,
          {"fused": fused, "weights": norms / norms.sum(1, keepdim=True)}, REFERENCE)


@torch.no_grad()
def decisions():
    inputs = {"present": present, "logits": logits}
    weights = present / present.sum(1, keepdim=True)
    log_temperature = 0.3 * torch.randn(M, generator=generator)
    p = torch.softmax(logits / log_temperature.exp()[:, None], -1) * present[..., None]
    write("mean", dict(streams=M, width=D, learned_temperature=True), {"log_temperature": log_temperature}, inputs,
          {"logits": (p.sum(1) / present.sum(1, keepdim=True)).log(), "weights": weights}, REFERENCE)
    log_prior = torch.log_softmax(torch.randn(K, generator=generator), 0)
    log_p = torch.log_softmax(logits / log_temperature.exp()[:, None], -1) * present[..., None]
    pooled = log_p.sum(1) - (present.sum(1, keepdim=True) - 1) * log_prior
    write("product", dict(streams=M, width=D, learned_temperature=True, pooling="sum", classes=K),
          {"log_temperature": log_temperature, "log_prior": log_prior}, inputs,
          {"logits": torch.log_softmax(pooled, -1), "weights": weights}, REFERENCE)


@torch.no_grad()
def dma():
    net = randomise(Parameters(bias=(M,)))
    net.log_temperature = nn.Parameter(torch.tensor(0.25))
    weights = among_present(quality.log() / net.log_temperature.exp() + net.bias)
    write("dma", dict(streams=M, width=D), net.state_dict(), pooled_inputs,
          {"fused": combine(weights, features), "weights": weights}, REFERENCE)


@torch.no_grad()
def drg():
    hidden, tasks = 6, 2
    net = Parameters(weight1=(M, D, hidden), bias1=(M, hidden), quality_weight=(M, hidden), weight2=(M, hidden),
                     bias2=(M,))
    net.norm, net.task = nn.LayerNorm(D), nn.Embedding(tasks, hidden)
    randomise(net)
    net.quality_scale = nn.Parameter(torch.tensor(0.7))
    scores = torch.stack(
        [F.gelu(net.norm(features[:, m]) @ net.weight1[m] + net.bias1[m] + quality[:, m, None].log() * net.quality_weight[m]
                + net.task(task)) @ net.weight2[m] + net.bias2[m] + net.quality_scale * quality[:, m].log()
         for m in range(M)], 1)
    weights = among_present(scores)
    entropy = -torch.special.xlogy(weights, weights).sum(1)
    write("drg", dict(streams=M, width=D, hidden=hidden, tasks=tasks, entropy_weight=0.1), net.state_dict(),
          {**pooled_inputs, "task": task},
          {"fused": combine(weights, features), "weights": weights,
           "auxiliary": 0.1 * (present.sum(1).float().log() - entropy)}, REFERENCE)


@torch.no_grad()
def modality_attention():
    net = Parameters(beta=(H,), query=(D,))
    net.stream = nn.Embedding(M, D)
    net.layers = nn.ModuleList([layer()])
    net.token_norm, net.norm = nn.LayerNorm(D), nn.LayerNorm(D)
    net.readout = nn.MultiheadAttention(D, H, batch_first=True)
    randomise(net)
    net.beta.copy_(torch.tensor([0.5, 1.25]))
    net.reliability = nn.Parameter(torch.tensor(0.8))
    cross = (stream_all[:, None] != stream_all[None, :]).float()
    log_r = 0.8 * quality_all.log()[:, None, None, :]
    x = x_all + net.stream(stream_all)
    x = net.layers[0](x, src_mask=per_head(with_mask(-net.beta[None, :, None, None] * cross + log_r)))
    read, mass = attend(net.readout, net.query.expand(B, 1, D), net.token_norm(x), with_mask(log_r))
    weights = share(mass)
    fused = net.norm(read[:, 0] + combine(weights, features))
    write("modality_attention", dict(streams=M, width=D, heads=H, layers=1, dropout=0.0), net.state_dict(), token_inputs,
          {"fused": fused, "weights": weights}, REFERENCE)


@torch.no_grad()
def bridge():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.latent_norm, self.token_norm = nn.LayerNorm(D), nn.LayerNorm(D)
            self.cross, self.mix = nn.MultiheadAttention(D, H, batch_first=True), layer()

    net = Parameters(latents=(3, D))
    net.stream = nn.Embedding(M, D)
    net.layers = nn.ModuleList([Layer(), Layer()])
    net.norm, net.output = nn.LayerNorm(D), nn.Linear(D, D)
    randomise(net)
    net.reliability = nn.Parameter(torch.tensor(1.2))
    bias = with_mask(1.2 * quality_all.log()[:, None, None, :]).expand(B, 1, 3, S)
    x, kv = net.latents.expand(B, 3, D), x_all + net.stream(stream_all)
    for block in net.layers:
        read, mass = attend(block.cross, block.latent_norm(x), block.token_norm(kv), bias)
        x = block.mix(x + read)
    write("bridge", dict(streams=M, width=D, latents=3, heads=H, layers=2, dropout=0.0), net.state_dict(), token_inputs,
          {"fused": net.output(net.norm(x.mean(1))), "weights": share(mass)}, REFERENCE)


@torch.no_grad()
def progressive():
    net = nn.Module()
    net.towers = nn.ModuleList([nn.ModuleList([layer()]) for _ in range(M)])
    net.stream = nn.Embedding(M, D)
    net.cross = nn.ModuleList([layer()])
    net.norm, net.output_norm = nn.LayerNorm(D), nn.LayerNorm(D)
    net.score, net.gate = nn.Linear(D, 1), nn.Linear(D, D)
    randomise(net)
    # Item by item without any padding: only the real tokens, each stream through its own tower.
    pooled = torch.zeros(B, M, D)
    for b in range(B):
        streams = [m for m in range(M) if present[b, m]]
        parts = [net.towers[m][0](x_all[b : b + 1, mask_all[b] & (stream_all == m)]) + net.stream.weight[m]
                 for m in streams]
        y = net.norm(net.cross[0](torch.cat(parts, 1)))
        for m, part in zip(streams, y.split([p.shape[1] for p in parts], 1)):
            pooled[b, m] = part[0].mean(0)
    weights = among_present(net.score(pooled)[..., 0] + quality.log())
    write("progressive", dict(streams=M, width=D, heads=H, stream_layers=1, cross_layers=1, dropout=0.0),
          net.state_dict(), token_inputs,
          {"fused": net.output_norm(combine(weights, torch.sigmoid(net.gate(pooled)) * pooled)), "weights": weights},
          REFERENCE)


@torch.no_grad()
def cross_modal_attention():
    text, image = torch.randn(2, 4, 6, generator=generator), torch.randn(2, 5, 10, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]], dtype=torch.bool)
    reference = randomise(nn.MultiheadAttention(D, H, batch_first=True, kdim=10, vdim=10))
    net = nn.Module()
    net.q_proj, net.k_proj, net.v_proj = nn.Linear(6, D), nn.Linear(10, D), nn.Linear(10, D)
    net.out_proj = nn.Linear(D, D)
    randomise(net)
    # torch's module asks queries of the output's width, so its query weight is the identity.
    reference.q_proj_weight.copy_(torch.eye(D))
    reference.k_proj_weight.copy_(net.k_proj.weight)
    reference.v_proj_weight.copy_(net.v_proj.weight)
    reference.in_proj_bias.copy_(torch.cat([torch.zeros(D), net.k_proj.bias, net.v_proj.bias]))
    reference.out_proj.load_state_dict(net.out_proj.state_dict())
    out, _ = reference(net.q_proj(text), image, image, key_padding_mask=~mask)
    write("cross_modal_attention", dict(text_dim=6, image_dim=10, embed_dim=D, num_heads=H), net.state_dict(),
          {"text": text, "image": image, "image_mask": mask}, {"output": out}, REFERENCE)


for make in (concatenation, decisions, dma, drg, modality_attention, bridge, progressive, cross_modal_attention):
    make()

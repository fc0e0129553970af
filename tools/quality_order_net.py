"""The small network behind the "order" part of plait.quality.text: how much of a text's word order is broken.

For every gap between two words it looks at the four words on either side (one vector per frequent word, else per
suffix), passes them through one hidden layer, averages over the gaps and answers with the share of words that were moved
or lost. Trained on sentences shuffled and thinned by known shares, to tell the share and which of two states is worse.
`train` returns the arrays that tools/quality_text_model.py packs.
"""
import numpy as np
import torch

DIMENSIONS, HIDDEN, POOLED, SIDE = 16, 64, 24, 4
LONGEST, BATCH = 60, 128  # words; sentences, each in two states


class OrderNet(torch.nn.Module):
    def __init__(self, symbols):
        super().__init__()
        self.embedding = torch.nn.Embedding(symbols, DIMENSIONS)
        torch.nn.init.normal_(self.embedding.weight, std=0.3)
        self.hidden = torch.nn.Linear(2 * SIDE * DIMENSIONS, HIDDEN)
        self.gap = torch.nn.Linear(HIDDEN, 1)  # guides training, not kept
        self.pooled = torch.nn.Linear(HIDDEN, POOLED)
        self.share = torch.nn.Linear(POOLED, 1)

    def forward(self, windows, sentence, sentences):
        """(logit that the gap is no original one [G], logit of the share of words moved or lost [sentences]) of windows
        [G, 2 * SIDE], each of the sentence given by its number [G]."""
        h = torch.relu(self.hidden(self.embedding(windows).flatten(1)))
        count = torch.bincount(sentence, minlength=sentences).unsqueeze(1)
        mean = torch.zeros(sentences, HIDDEN).index_add(0, sentence, h) / count
        return self.gap(h).squeeze(1), self.share(torch.relu(self.pooled(mean))).squeeze(1)


def damaged(ids, unknown, rng):
    """[(ids, whether each gap is broken, share of words moved or lost)] of two states, the second of which includes the
    damage of the first."""
    n, shuffle = len(ids), rng.random() < 0.8
    shares = sorted(rng.random(2))
    if rng.random() < 0.5:
        shares[0] = 0
    if rng.random() < 0.25:  # a word that is not known says nothing about the order
        ids = np.where(rng.random(n) < 0.4 * rng.random(), unknown[ids], ids)
    order, states = rng.permutation(n), []
    for share in shares:
        place = np.arange(n)
        if share == 0:
            count = 0
        elif shuffle:
            count = min(n, max(2, round(share * n)))
            place[order[:count]] = np.roll(order[:count], -1)
        else:
            count = min(n - 1, round(share * n))
            place = np.delete(place, order[:count])
        broken = np.diff(np.concatenate([[-1], place, [n]])) != 1
        states.append((ids[place], broken, count / n))
    return states


def batches(sentences, unknown, begin, end, stop, rng):
    order = rng.permutation(len(sentences))
    for first in range(0, len(order) - BATCH + 1, BATCH):
        windows, gaps, shares = [], [], []
        for i in order[first : first + BATCH]:
            ids = sentences[i]
            if rng.random() < 0.15:  # texts of two sentences
                ids = np.concatenate([ids, [stop] if ids[-1] != stop else [], sentences[rng.integers(len(sentences))]]).astype(np.int64)
            for state, broken, share in damaged(ids[:LONGEST], unknown, rng):
                padded = np.concatenate([np.full(SIDE, begin), state, np.full(SIDE, end)])
                windows.append(np.lib.stride_tricks.sliding_window_view(padded, 2 * SIDE))
                gaps.append(broken)
                shares.append(share)
        sentence = np.repeat(np.arange(2 * BATCH), [len(g) for g in gaps])
        yield (torch.from_numpy(np.concatenate(windows)), torch.from_numpy(sentence),
               torch.from_numpy(np.concatenate(gaps).astype(np.float32)), torch.tensor(shares, dtype=torch.float32))


def train(sentences, unknown, begin, end, stop, epochs=12, seed=0):
    """Arrays of the network by name, float32. `sentences` are arrays of symbols, `unknown[s]` is what a symbol reads as
    when its word is not known, `stop` is the full stop's symbol."""
    torch.set_num_threads(1)  # with more, sums come out in another order every time
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = OrderNet(len(unknown))
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, epochs * (len(sentences) // BATCH))
    loss_of, softplus = torch.nn.functional.binary_cross_entropy_with_logits, torch.nn.functional.softplus
    for epoch in range(epochs):
        total = steps = 0
        for windows, sentence, broken, share in batches(sentences, unknown, begin, end, stop, rng):
            gap, logit = net(windows, sentence, 2 * BATCH)
            worse = share[1::2] > share[::2]
            rise = (logit[1::2] - logit[::2])[worse]
            loss = loss_of(gap, broken) + loss_of(logit, share) + 2 * softplus(-2 * rise).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total, steps = total + loss.item(), steps + 1
        print(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}", flush=True)
    arrays = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    return {k: v for k, v in arrays.items() if not k.startswith("gap.")}

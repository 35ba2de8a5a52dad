"""The networks of step.py, written as a PyTorch user would for speed on a CPU: fused attention, one product for q, k and v."""
import dataclasses

import torch
import torch.nn.functional as F
from torch import nn


class Gpt2Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads = s.heads
        self.ln1, self.ln2 = nn.LayerNorm(s.width), nn.LayerNorm(s.width)
        self.qkv, self.out = nn.Linear(s.width, 3 * s.width), nn.Linear(s.width, s.width)
        self.up, self.down = nn.Linear(s.width, s.ffn), nn.Linear(s.ffn, s.width)

    def forward(self, x):
        b, t, w = x.shape
        split = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, w // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, w))
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh"))


class LlamaBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads, self.kv_heads, self.size = s.heads, s.kv_heads, s.width // s.heads
        self.ln1, self.ln2 = nn.RMSNorm(s.width, eps=1e-6), nn.RMSNorm(s.width, eps=1e-6)
        self.qkv = nn.Linear(s.width, (s.heads + 2 * s.kv_heads) * self.size)
        self.out = nn.Linear(s.width, s.width, bias=False)
        self.gate_up = nn.Linear(s.width, 2 * s.ffn, bias=False)
        self.down = nn.Linear(s.ffn, s.width, bias=False)

    def forward(self, x, cos, sin):
        b, t, w = x.shape
        qkv = self.qkv(self.ln1(x)).view(b, t, -1, self.size).transpose(1, 2)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)

        def turned(y):
            low, high = y.chunk(2, dim=-1)
            return y * cos + torch.cat((-high, low), dim=-1) * sin

        y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, w))
        gate, up = self.gate_up(self.ln2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Network(nn.Module):
    def start(self):
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def loss(self, x, labels):
        logits = F.linear(self.ln(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


class GPT2(Network):
    def __init__(self, s):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(s.vocab, s.width), nn.Embedding(s.context, s.width)
        self.blocks = nn.ModuleList(Gpt2Block(s) for _ in range(s.layers))
        self.ln = nn.LayerNorm(s.width)
        self.start()

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.loss(x, labels)


class Llama(Network):
    """Of Qwen2.5's kind: biases of q, k and v, one table for both ends."""

    def __init__(self, s):
        super().__init__()
        self.wte = nn.Embedding(s.vocab, s.width)
        self.blocks = nn.ModuleList(LlamaBlock(s) for _ in range(s.layers))
        self.ln = nn.RMSNorm(s.width, eps=1e-6)
        self.size = s.width // s.heads
        self.start()

    def forward(self, tokens, labels):
        x = self.wte(tokens)
        rates = 1e6 ** (-torch.arange(0, self.size, 2) / self.size)
        angles = torch.outer(torch.arange(tokens.shape[1]), rates).repeat(1, 2)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.loss(x, labels)


@dataclasses.dataclass(frozen=True)
class Shape:
    network: type
    layers: int
    heads: int
    kv_heads: int
    width: int
    ffn: int
    context: int
    vocab: int


NETWORKS = {
    "gpt2-tiny": Shape(GPT2, 4, 4, 4, 128, 512, 128, 257),
    "gpt2-124m": Shape(GPT2, 12, 12, 12, 768, 3072, 1024, 50257),
    "qwen2.5-0.5b": Shape(Llama, 24, 14, 2, 896, 4864, 32768, 151936),
}


def products(s, tokens):
    """(m, n, k) of every matrix product of forward and backward, without attention's own."""
    w, kv = s.width, s.kv_heads * (s.width // s.heads)
    up = 2 * s.ffn if s.network is Llama else s.ffn
    forward = [(tokens, n, k) for n, k in ((w + 2 * kv, w), (w, w), (up, w), (w, s.ffn))] * s.layers
    forward.append((tokens, s.vocab, w))
    return [shape for m, n, k in forward for shape in ((m, n, k), (m, k, n), (n, k, m))]

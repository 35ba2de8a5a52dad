#!/usr/bin/env python3
"""One optimizer step of a GPT-2 or a Qwen2.5 in PyTorch on the CPU: the peer of `sherd bench step`.

Prints one JSON line a mode with the keys of `sherd bench --json`. `bound` is the time the matrix
products of the step take alone, in the same data type and with as many threads.
"""
import argparse
import json
import math
import os
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from networks import NETWORKS, products


def product_seconds(s, tokens, dtype, rounds):
    total = 0.0
    shapes = products(s, tokens)
    for m, n, k in sorted(set(shapes)):
        a, b = torch.ones(m, k, dtype=dtype), torch.ones(k, n, dtype=dtype)
        out = torch.empty(m, n, dtype=dtype)
        torch.mm(a, b, out=out)
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            times.append(time.perf_counter() - start)
        total += statistics.median(times) * shapes.count((m, n, k))
    return total


def build(args, s, rank):
    torch.manual_seed(0)
    model = s.network(s).to(getattr(torch, args.dtype))
    if args.mode == "compile":
        model = torch.compile(model)
    elif args.mode == "ddp":
        model = nn.parallel.DistributedDataParallel(model)
    elif args.mode == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        mesh = init_device_mesh("cpu", (args.ranks,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    torch.manual_seed(1 + rank)
    window = torch.randint(s.vocab, (args.batch, args.seq + 1))
    return model, optimizer, window[:, :-1], window[:, 1:]


def timed_steps(args, s, rank):
    model, optimizer, tokens, labels = build(args, s, rank)
    times, losses = [], []
    for i in range(args.warmup + args.rounds):
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        loss = model(tokens, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if i >= args.warmup:
            times.append(time.perf_counter() - start)
    return times, losses


def report(args, s, times, losses):
    tokens = args.batch * args.seq
    flops = sum(2 * m * n * k for m, n, k in products(s, tokens))
    bound = product_seconds(s, tokens, getattr(torch, args.dtype), 3)
    seconds = statistics.median(times)
    # The same batch every step: a loss that does not fall means something is broken.
    wrong = sum(not math.isfinite(x) for x in losses) + (losses[-1] >= losses[0])
    return {
        "name": f"step torch {args.mode}", "seconds": seconds,
        "spread": (max(times) - min(times)) / seconds, "rounds": len(times),
        "flop_per_s": flops / seconds, "bound": "torch.mm of the step's products",
        "bound_flop_per_s": flops / bound, "of_bound": bound / seconds, "wrong": int(wrong),
        "where": "cpu", "model": args.model, "dtype": args.dtype, "batch": args.batch,
        "seq": args.seq, "ranks": args.ranks, "threads": args.threads,
        "first_loss": losses[0], "last_loss": losses[-1], "torch": torch.__version__,
    }


def run(rank, args, results=None):
    torch.set_num_threads(args.threads)
    distributed = results is not None
    if distributed:
        os.dup2(2, 1)  # gloo greets on stdout, which carries rows only
        dist.init_process_group("gloo", init_method=f"file://{args.rendezvous}", rank=rank,
                                world_size=args.ranks)
    s = NETWORKS[args.model]
    times, losses = timed_steps(args, s, rank)
    if distributed:
        dist.barrier()
        dist.destroy_process_group()
    row = report(args, s, times, losses) if rank == 0 else None
    if distributed and row:
        results.put(row)
    return row


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("eager", "compile", "ddp", "fsdp2"), default="eager")
    parser.add_argument("--model", choices=NETWORKS, default="gpt2-124m")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, help="sequences a rank (4; 2 with several ranks)")
    parser.add_argument("--seq", type=int, default=64)
    parser.add_argument("--ranks", type=int, help="processes (1; 2 for ddp and fsdp2)")
    parser.add_argument("--threads", type=int, help="a rank (2; 1 with several ranks)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    args = parser.parse_args()
    several = args.mode in ("ddp", "fsdp2")
    args.ranks = args.ranks or (2 if several else 1)
    if args.ranks > 1 and not several:
        parser.error(f"--mode {args.mode} runs one rank, got --ranks {args.ranks}")
    args.batch = args.batch or (2 if several else 4)
    args.threads = args.threads or (1 if several else 2)
    return args


def main():
    args = parse()
    if args.mode not in ("ddp", "fsdp2"):
        print(json.dumps(run(0, args)))
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    results = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        args.rendezvous = os.path.join(folder, "rendezvous")
        mp.spawn(run, args=(args, results), nprocs=args.ranks)
    print(json.dumps(results.get()))


if __name__ == "__main__":
    main()

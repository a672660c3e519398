"""Calls per second of PyTorch's eager mode on one core: the same weights and windows as the bench beside it.

In: a safetensors file, windows as 64-bit classes. Out: {"f32": calls/s, "bf16": calls/s} on stdout.
"""

import json
import struct
import sys
import time

import torch


def tensors(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    header.pop("__metadata__", None)
    whole = torch.frombuffer(bytearray(data[8 + n :]), dtype=torch.float32)
    return {k: whole[v["data_offsets"][0] // 4 : v["data_offsets"][1] // 4].reshape(v["shape"]).clone() for k, v in header.items()}


def main():
    weights, inputs, targets, length, scored_from, rounds = sys.argv[1:]
    length, scored_from, rounds = int(length), int(scored_from), int(rounds)
    torch.set_num_threads(1)
    w = tensors(weights)
    read = lambda p: torch.frombuffer(bytearray(open(p, "rb").read()), dtype=torch.int64).reshape(-1, length)
    inputs, targets = read(inputs), read(targets)
    classes, embedding = w["embedding"].shape
    hidden = w["weight_hh"].shape[1]
    out = {}
    for name, kind in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        table = torch.nn.Embedding(classes, embedding)
        layer = torch.nn.LSTM(embedding, hidden, batch_first=True)
        head = torch.nn.Linear(hidden, classes)
        with torch.no_grad():
            table.weight.copy_(w["embedding"])
            for ours, theirs in (("weight_ih", "weight_ih_l0"), ("weight_hh", "weight_hh_l0"), ("bias_ih", "bias_ih_l0"), ("bias_hh", "bias_hh_l0")):
                getattr(layer, theirs).copy_(w[ours])
            head.weight.copy_(w["head_weight"])
            head.bias.copy_(w["head_bias"])
            table, layer, head = table.to(kind), layer.to(kind), head.to(kind)
            best = 0.0
            for batch in (64, 256):
                speeds = []
                for _ in range(rounds):
                    begun = time.perf_counter()
                    for i in range(0, len(inputs), batch):
                        logits = head(layer(table(inputs[i : i + batch]))[0]).float()
                        norm = torch.logsumexp(logits, -1)
                        _ = norm - logits.gather(2, targets[i : i + batch].unsqueeze(2)).squeeze(2)
                    speeds.append(len(inputs) * (length - scored_from) / (time.perf_counter() - begun))
                best = max(best, sorted(speeds)[len(speeds) // 2])
            out[name] = best
    json.dump(out, sys.stdout)


main()

#!/usr/bin/env python3
"""Compares `sherd data tokenize` with PyPI `tokenizers` on multilingual text and on bytes that are no UTF-8, and times both
(CPU seconds of one thread, so that what else runs matters little).

    pip install tokenizers numpy
    scripts/tokenizer_parity.py build/release/sherd [--tokenizer FILE …] [--megabytes 20]

Text: the translations installed on this machine (or --text FILE …), random characters of every plane, random bytes.
Ends with 1 if a token differs.
"""
import argparse
import gettext
import json
import os
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import numpy  # noqa: E402
import tokenizers  # noqa: E402

FIXTURES = Path(__file__).resolve().parent.parent / "tests/fixtures/tokenizers"
# Normal forms of marks that came after Unicode 9 are the library's affair: `tokenizers` knows them as letters without rank.
ASSIGNED_LATER = [(0x7fd, 0x7fe), (0x898, 0x8d4), (0x9fe, 0x9ff), (0xc3c, 0xc3d), (0xd3b, 0xd3d), (0xeba, 0xebb), (0x1715, 0x1716),
                  (0x1ab0, 0x1b00), (0x1df6, 0x1dfb), (0xa82c, 0xa82d), (0x10d24, 0x10fff), (0x11000, 0x12000), (0x16d00, 0x17000),
                  (0x1bc9e, 0x1bc9f), (0x1e000, 0x1e900)]


def translations(size, seed):
    """Text of installed message catalogues, in as many languages as there are."""
    files = sorted(Path("/usr/share/locale").glob("*/LC_MESSAGES/*.mo"))
    random.Random(seed).shuffle(files)
    parts, total = [], 0
    for file in files:
        try:
            with open(file, "rb") as stream:
                messages = gettext.GNUTranslations(stream)._catalog
        except (OSError, ValueError, LookupError):
            continue
        part = "\n".join(text for key, text in messages.items() if key and isinstance(text, str)) + "\n"
        parts.append(part.encode())
        total += len(parts[-1])
        if total >= size:
            break
    return b"".join(parts)[:size]


def characters(size, seed):
    """Random characters: words of one block each, and spaces of all kinds."""
    rng, parts, total = random.Random(seed), [], 0
    spaces = [" "] * 8 + ["\n", "\r\n", "  ", "\n\n", "\t", " \n ", "\u00a0", "\u3000", "\u2028", "\u0085", "'", "'s", "'LL ", "123 4567"]
    later = {c for first, end in ASSIGNED_LATER for c in range(first, end)}
    while total < size:
        base = rng.choice([rng.randrange(0, 0x30), rng.randrange(0, 0x300), rng.randrange(0, 0x300), rng.randrange(0, 0x3200)]) * 256
        base = base if base < 0x32000 else 0x1f300
        points = [base + rng.randrange(256) for _ in range(rng.randrange(1, 12))]
        if rng.random() < 0.2:
            points += [rng.choice((0x300, 0x301, 0x327, 0x323, 0x345, 0x5b0, 0x94d, 0x3099)) for _ in range(rng.randrange(4))]
        word = "".join(chr(c) for c in points if not 0xd800 <= c < 0xe000 and c not in later) + rng.choice(spaces)
        parts.append(word.encode())
        total += len(parts[-1])
    return b"".join(parts)


def broken(text, seed):
    """Text with bytes changed, dropped and repeated, and stretches of random bytes."""
    rng, damaged = random.Random(seed), bytearray(text)
    for _ in range(len(text) // 200):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    for _ in range(len(text) // 2000):
        at = rng.randrange(len(damaged))
        damaged[at:at + rng.randrange(8)] = rng.randbytes(rng.randrange(8))
    return bytes(damaged) + rng.randbytes(len(text) // 20)


def of_sherd(program, tokenizer, text, threads):
    """Its tokens, and the CPU seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "text", Path(folder) / "tokens"
        source.write_bytes(text)
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program, "data", "tokenize", source, "--tokenizer", tokenizer, "--out", out, "--separator", "none", "--quiet",
                        "--threads", str(threads)], check=True, stdout=subprocess.DEVNULL)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        manifest = json.loads((out / "manifest.json").read_text())
        width = "<u2" if manifest["token_type"] == "u16" else "<u4"
        shards = [numpy.fromfile(out / file["name"], width, offset=1024) for shard in manifest["shards"] for file in shard["files"]]
    return numpy.concatenate(shards or [numpy.empty(0)]).astype(numpy.uint32), seconds


def of_tokenizers(tokenizer, text):
    text = text.decode(errors="replace")
    began = time.process_time()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return numpy.array(ids, numpy.uint32), time.process_time() - began


def seconds_by_lines(tokenizer, text):
    """Of the other library with many short texts, one after the other."""
    lines = text.decode(errors="replace").splitlines(keepends=True)
    began = time.process_time()
    for first in range(0, len(lines), 64):
        tokenizer.encode("".join(lines[first:first + 64]), add_special_tokens=False)
    return time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sherd")
    parser.add_argument("--tokenizer", nargs="*", type=Path, default=sorted(path for path in FIXTURES.glob("*.json") if path.stem != "expected"))
    parser.add_argument("--text", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = int(given.megabytes * 1e6)
    text = b"".join(path.read_bytes() for path in given.text)[:size] if given.text else translations(size, given.seed)
    sets = {"text": text, "characters": characters(size // 4, given.seed), "broken": broken(text[:size // 4], given.seed)}
    different = 0
    for path in given.tokenizer:
        other = tokenizers.Tokenizer.from_file(str(path))
        for name, content in sets.items():
            ours, our_seconds = of_sherd(given.sherd, path, content, 1)
            theirs, their_seconds = of_tokenizers(other, content)
            same = len(ours) == len(theirs) and bool((ours == theirs).all())
            count = 0 if same else max(int((ours[:len(theirs)] != theirs[:len(ours)]).sum()), abs(len(ours) - len(theirs)))
            different += count
            row = {"tokenizer": path.stem, "text": name, "bytes": len(content), "tokens": len(theirs), "different": count,
                   "sherd_mb_per_s": round(len(content) / our_seconds / 1e6, 2),
                   "tokenizers_mb_per_s": round(len(content) / their_seconds / 1e6, 2)}
            if name == "text":
                row["tokenizers_by_lines_mb_per_s"] = round(len(content) / seconds_by_lines(other, content) / 1e6, 2)
            print(json.dumps(row), flush=True)
    print(f"tokenizers {tokenizers.__version__}: {different} different")
    raise SystemExit(1 if different else 0)


if __name__ == "__main__":
    main()

"""Mutated safetensors files, each with the reference implementation's verdict.

    python tools/oracle/safetensors_mutations.py --count 800 --out tests/fixtures/safetensors/mutations.json
    python tools/oracle/safetensors_mutations.py --count 10000 --seed 2 --out FILE
    TESSERA_MUTATIONS=FILE npx vitest run --project pure tests/weights/mutations.test.ts

A case is [base, edits, data, keep, verdict]. Each edit [at, remove, insert] is applied in turn to the header's bytes
(`insert` is Latin-1), `data` zero bytes follow the header, and the length field is set to the new header's length
unless `keep` is 1, which leaves the base's. The verdict is "" where `safetensors.deserialize` raises, otherwise the
first 8 hex digits of the SHA-256 of the sorted lines "name NUL dtype NUL dimensions joined by commas".
"""

import argparse
import base64
import hashlib
import json
import random
import struct

import safetensors

VERSION = "0.8.0"

BASES = [
    (
        '{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
        '"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},'
        '"n":{"dtype":"U8","shape":[1,1],"data_offsets":[32,33]}}   ',
        33,
    ),
    (
        '{"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"z":{"dtype":"F16","shape":[0,5],"data_offsets":[8,8]},'
        '"q":{"dtype":"F4","shape":[2,2],"data_offsets":[8,10]},"e":{"dtype":"BOOL","shape":[0],"data_offsets":[10,10]}}',
        10,
    ),
    (
        '{"__proto__":{"dtype":"I8","shape":[3],"data_offsets":[4,7],"x":{"y":[1.5,null,true]}},'
        '"h\\u00e9\\"\\\\":{"shape":[2],"data_offsets":[0,4],"dtype":"U16"},"Ünï😀":{"dtype":"F8_E4M3","shape":[1],'
        '"data_offsets":[7,8]}}',
        8,
    ),
]

TOKENS = [
    *"{}[],:\"\\ \n\t-.0123456789eE",
    '"F32"', '"F64"', '"BF16"', '"U8"', '"F6_E2M3"', '"f32"', '"C64"',
    "null", "true", "1.0", "1e0", "-0", "-1", "00", "18446744073709551615", "9007199254740993",
    '"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"x":1,', '"x":{},', '"x":[1,{"y":"z"}],', '"x":"",',
    '"__metadata__":{},', '"__metadata__":{"k":"v"},', '"__metadata__":null,', '"__metadata__":{"k":1},',
    '"o":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},', '"o":{"dtype":"F32","shape":[],"data_offsets":[8,12]},',
    "\\ud800", "\\ud83d\\ude00", "\\u0061", "\\x", "\ufeff", "\u00e9", "\0",
]  # fmt: skip


def anywhere(rng, header, *marks):
    """A random position, or one just after a random occurrence of one of the marks."""
    places = [i + 1 for i, byte in enumerate(header) if byte in b"".join(marks)] if marks else []
    return rng.choice(places) if places else rng.randrange(len(header) + 1)


def edit(rng, header):
    """One edit [at, remove, insert]; from wild to careful, so that both verdicts occur often."""
    at = rng.randrange(len(header))
    kind = rng.randrange(10)
    if kind == 0:
        return [at, 1, bytes([rng.randrange(256)])]
    if kind == 1:
        return [at, 0, bytes([rng.randrange(256)])]
    if kind == 2:
        return [at, rng.randint(1, 4), b""]
    if kind == 3:
        digits = [i for i, byte in enumerate(header) if 48 <= byte <= 57]
        return [rng.choice(digits) if digits else at, 1, str(rng.randrange(10)).encode()]
    if kind == 4:  # a copy of a stretch, elsewhere
        end = min(len(header), at + rng.randint(1, 60))
        return [anywhere(rng, header, b"{,"), 0, header[at:end]]
    if kind == 5:
        return [anywhere(rng, header), 0, rng.choice(TOKENS).encode()]
    if kind == 6:
        return [anywhere(rng, header, b"{,:["), 0, rng.choice(TOKENS).encode()]
    if kind == 7:
        return [anywhere(rng, header, b"{}[],:"), 0, rng.choice([b" ", b"\n", b"\t", b"\r", b"  "])]
    if kind == 8:
        letters = [i for i, byte in enumerate(header) if chr(byte).isalpha()]
        return [rng.choice(letters) if letters else at, 1, bytes([rng.randrange(32, 127)])]
    # An unknown field at the head of a random object.
    return [anywhere(rng, header, b"{"), 0, rng.choice(TOKENS[40:]).encode()]


def apply(header, edits):
    for at, remove, insert in edits:
        header = header[:at] + insert + header[at + remove :]
    return header


def build(header, data, length):
    return struct.pack("<Q", length) + header + bytes(data)


def verdict(file):
    try:
        tensors = safetensors.deserialize(file)
    except Exception:  # the reference raises several classes
        return ""
    lines = [
        b"\0".join([name.encode(), t["dtype"].encode(), ",".join(map(str, t["shape"])).encode()])
        for name, t in tensors
    ]
    return hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()[:8]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if safetensors.__version__ != VERSION:
        raise SystemExit(f"verdicts are those of safetensors {VERSION}; this is {safetensors.__version__}")
    rng = random.Random(args.seed)
    bases = [(header.encode(), data) for header, data in BASES]
    for header, data in bases:
        assert verdict(build(header, data, len(header))), "a base must be valid"
    cases = []
    while len(cases) < args.count:
        index = rng.randrange(len(bases))
        base, data = bases[index]
        header, edits = base, []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            edits.append(edit(rng, header))
            header = apply(base, edits)
            if not header:
                break
        if rng.random() < 0.05:
            data = max(0, data + rng.choice([-1, 1, 8]))
        keep = int(rng.random() < 0.05)
        result = verdict(build(header, data, len(base) if keep else len(header)))
        cases.append([index, [[a, r, i.decode("latin-1")] for a, r, i in edits], data, keep, result])
    with open(args.out, "w", encoding="utf-8") as out:
        encoded = [base64.b64encode(header).decode() for header, _ in bases]
        head = {"reference": f"safetensors {VERSION}", "seed": args.seed, "bases": encoded}
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        out.write(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")
    accepted = sum(1 for case in cases if case[4])
    print(f"{len(cases)} cases, {accepted} accepted by the reference")


if __name__ == "__main__":
    main()

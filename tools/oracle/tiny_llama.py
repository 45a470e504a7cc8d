"""Tiny random Llama checkpoints with realistic statistics, and what Hugging Face transformers computes from them.

    python tools/oracle/tiny_llama.py            # all variants, into tests/fixtures/llama/<variant>/

Each folder holds config.json, model.safetensors and golden.json. There is no tokenizer: prompts are ids. Norm weights
are not 1, biases are not 0, and the head is scaled so that logits spread as in a trained model (a plain random one gives
nearly equal logits, on which no test of greedy continuation can stand). The seed of each variant is searched: the first
one whose 64 greedy steps all have a clear margin and do not fall into a short loop.
"""

import argparse
import json
from pathlib import Path

import torch
from golden import GREEDY, REPO, dump, greedy, load, rounded, versions
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

PROMPT_LENGTH = 36
VARIANTS = {
    # untied head, multi-head attention, head_dim larger than hidden_size / heads
    "untied-f32": dict(
        dtype="float32",
        vocab_size=208,
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=24,
        tie_word_embeddings=False,
        rope_theta=10000.0,
    ),
    # biases everywhere, grouped queries, f16 weights
    "bias-f16": dict(
        dtype="float16",
        vocab_size=256,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        rope_theta=500000.0,
    ),
    # sizes that divide by nothing convenient, one key head, bf16 weights
    "odd-bf16": dict(
        dtype="bfloat16",
        vocab_size=307,
        hidden_size=60,
        intermediate_size=100,
        num_hidden_layers=2,
        num_attention_heads=5,
        num_key_value_heads=1,
        head_dim=12,
        tie_word_embeddings=True,
        rope_theta=10000.0,
    ),
}


def config_of(shape: dict) -> LlamaConfig:
    shape = dict(shape)
    theta = shape.pop("rope_theta")
    shape.pop("dtype")
    return LlamaConfig(
        **shape,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )


def fill(model: LlamaForCausalLM, seed: int) -> None:
    """Weights as a trained model has them: matrices of unit gain, norms around 1, biases around 0, sharp attention."""
    g, tied = torch.Generator().manual_seed(seed), model.config.tie_word_embeddings
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if name == "model.norm.weight":
            value = (5 if tied else 1) * (1 + 0.25 * noise)
        elif name.endswith("norm.weight"):
            value = 1 + 0.25 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "embed_tokens" in name:
            value = (0.1 if tied else 0.5) * noise  # tied: small, or every token would predict itself
        elif "lm_head" in name:
            value = 3 * noise / p.shape[1] ** 0.5
        elif "q_proj" in name or "k_proj" in name:
            value = 1.4 * noise / p.shape[1] ** 0.5
        else:
            value = noise / p.shape[1] ** 0.5
        p.data.copy_(value)


def write_config(path: Path, model: LlamaForCausalLM, shape: dict) -> None:
    """What transformers writes, and the keys by which older readers know the same things."""
    unused = ("chunk_size_feed_forward", "id2label", "is_encoder_decoder", "label2id", "pretraining_tp", "return_dict")
    config = {
        k: v
        for k, v in model.config.to_dict().items()
        if v is not None and k not in unused and not k.startswith(("_", "output_"))
    }
    config.update(
        architectures=["LlamaForCausalLM"],
        dtype=shape["dtype"],
        torch_dtype=shape["dtype"],
        rope_theta=shape["rope_theta"],
    )
    path.write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def make(name: str, out: Path, least_margin: float) -> None:
    shape = VARIANTS[name]
    dtype = getattr(torch, shape["dtype"])
    out.mkdir(parents=True, exist_ok=True)
    model = LlamaForCausalLM(config_of(shape)).eval()
    for seed in range(1, 500):
        fill(model, seed)
        for p in model.parameters():  # round to the published type, then compute in float32
            p.data.copy_(p.data.to(dtype).float())
        g = torch.Generator().manual_seed(seed)
        ids = [0] + torch.randint(2, shape["vocab_size"], (PROMPT_LENGTH - 1,), generator=g).tolist()
        continuation, margins = greedy(model, ids)
        if min(margins) > least_margin and len(set(continuation)) > GREEDY // 3:
            break
    else:
        raise SystemExit(f"{name}: no seed gives a clear continuation")

    weights = {n: p.detach().to(dtype).contiguous() for n, p in model.named_parameters()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    write_config(out / "config.json", model, shape)

    read = load(out)  # the goldens come from the files just written
    for n, p in read.named_parameters():
        assert torch.equal(p, weights[n].float()), n
    logits = read(torch.tensor([ids])).logits[0]
    continuation, margins = greedy(read, ids)
    dump(
        out / "golden.json",
        {
            "note": "Hugging Face transformers, float32 compute; logits[i] stands after ids[0..i]; greedy = argmax "
            "without stopping at the end token",
            "versions": versions(),
            "seed": seed,
            "ids": ids,
            "logits": [[round(float(v), 5) for v in row] for row in logits],
            "greedy": continuation,
            "margins": rounded(margins, 4),
            "minMargin": rounded([min(margins)], 4)[0],
        },
    )
    size = sum(file.stat().st_size for file in out.iterdir())
    count = sum(p.numel() for p in read.parameters())
    print(
        f"{name}: seed {seed}, {count} parameters, {size} bytes, smallest margin {min(margins):.3f}, "
        f"{len(set(continuation))} distinct ids, logits {logits.min():.1f} to {logits.max():.1f}"
    )


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("variants", nargs="*", default=list(VARIANTS), help="all when none is named")
    args.add_argument("--out", type=Path, default=REPO / "tests/fixtures/llama")
    args.add_argument("--margin", type=float, default=0.02, help="smallest margin of a greedy step")
    args = args.parse_args()
    torch.set_num_threads(1)
    for name in args.variants:
        make(name, args.out / name, args.margin)


if __name__ == "__main__":
    main()

"""Tiny random checkpoints of every family, in the form their authors publish, and what transformers computes from them.

    python tools/oracle/families.py              # every row of family_table.py, into tests/fixtures/families/<row>/
    python tools/oracle/families.py gemma2 phi3  # rows whose name begins so
    python tools/oracle/families.py --positions  # tests/fixtures/families/positions.json
    python tools/oracle/families.py --regimes    # tests/fixtures/families/<row>/regimes.json, after those rows

A folder holds config.json (as published: old field names, only what the authors write), model.safetensors (published
names and dtype), golden.json (ids, greedy, margins) and golden.safetensors (logits after every id, f32). No tokenizer.

Statistics are those of trained models: norms are not 1 and have outlier channels, biases are not 0, attention is sharp and
logits are spread. The seed is searched: the first whose greedy steps all have a clear margin and do not fall into a loop.
"""

import argparse
import json
import re
import shutil
import tempfile
from pathlib import Path

import torch
from family_table import ROWS, Row, Weights
from golden import REPO, dump, load, rounded, versions
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import MtpLayer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = REPO / "tests/fixtures/families"
EMBEDDINGS = ("embed_tokens", "wte", "wpe", "embed_in", "word_embeddings.weight")
HEADS = ("lm_head", "embed_out")
ROUTER = re.compile(r"(mlp|block_sparse_moe)\.(gate|router)\.weight")


def build(row: Row, folder: Path):
    """The transformers model of the row's config; `row.model` is what it is called there, where the published form is not its own."""
    published = {**row.config, "torch_dtype": row.dtype}
    (folder / "config.json").write_text(json.dumps(published, indent=2) + "\n", encoding="utf-8")
    if row.model is None:
        config = AutoConfig.from_pretrained(folder)
    else:
        fields = dict(row.model)
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    config._attn_implementation = "eager"
    config.num_hidden_layers += row.predictors  # the last of them stand for the modules behind the model
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    if row.patch:
        row.patch(model)
    fix_regime(model, row.context)
    return model


def split_off(model, row: Row, seed: int) -> tuple[Weights, list]:
    """Takes the layers that stand for modules of multi-token prediction out of the model, and makes such modules of them."""
    dtype = getattr(torch, row.dtype)
    modules = []
    g = torch.Generator().manual_seed(1000 + seed)
    layers = model.model.layers
    kept = len(layers) - row.predictors
    width = model.config.hidden_size
    out = {}
    for k, layer in enumerate(layers[kept:], kept):
        at = f"model.layers.{k}"
        own = list(layer.named_parameters()) + [(n, b) for n, b in layer.named_buffers() if "correction" in n]
        out |= {f"{at}.{n}": p.detach() for n, p in own}
        module = MtpLayer(model.config, type(layer), type(model.model.norm), k)
        for name, p in (("enorm", module.enorm), ("hnorm", module.hnorm), ("shared_head.norm", module.post_norm)):
            p.weight.data.copy_((1 + 0.25 * torch.randn(width, generator=g)).to(dtype).float())
            out[f"{at}.{name}.weight"] = p.weight.detach()
        joined = torch.randn(width, 2 * width, generator=g) / (2 * width) ** 0.5
        module.eh_proj.weight.data.copy_(joined.to(dtype).float())
        out[f"{at}.eh_proj.weight"] = module.eh_proj.weight.detach()
        module.mtp_block = layer
        modules.append(module.eval())
        # The published files have copies of both.
        out[f"{at}.embed_tokens.weight"] = model.model.embed_tokens.weight.detach()
        out[f"{at}.shared_head.head.weight"] = model.lm_head.weight.detach()
    model.model.layers = layers[:kept]
    model.config.num_hidden_layers = kept
    return out, modules


def predicted(model, module, ids: list[int]) -> Weights:
    """What a module of multi-token prediction makes of the model's hidden states and the tokens that follow them."""
    hidden = model.model(torch.tensor([ids]), use_cache=False).last_hidden_state
    positions = torch.arange(1, len(ids))[None]
    mask = torch.full((len(ids) - 1, len(ids) - 1), torch.finfo(torch.float32).min).triu(1)[None, None]
    rotary = model.model.rotary_emb(hidden, positions)
    out = module(model.model.embed_tokens(torch.tensor([ids[1:]])), hidden[:, :-1], rotary, mask, positions, None)
    return {"hidden": hidden[0].contiguous(), "predicted": model.lm_head(out)[0].contiguous()}


def fix_regime(model, length: int) -> None:
    """One rotary regime for a request, from its longest possible length; transformers changes it as a sequence grows."""
    for module in model.modules():
        kind = getattr(module, "rope_type", None)
        if kind in ("dynamic", "longrope"):
            module.inv_freq, module.attention_scaling = ROPE_INIT_FUNCTIONS[kind](model.config, "cpu", seq_len=length)
            module.rope_type = "default"


def fill(model, row: Row, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    offset = 1.0 if row.config["model_type"].startswith("gemma") else 0.0
    conv = row.config["model_type"] == "gpt2"
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if name.endswith("bias"):
            value = 0.2 * noise
        elif p.dim() == 1 or name.endswith("_norm.weight"):
            value = 1 + 0.25 * noise
            value[3::29] *= 3  # outlier channels
            final = name.split(".")[-2] in ("norm", "ln_f", "norm_f", "final_layer_norm", "final_layernorm")
            if "word_embeddings_layernorm" in name:
                value = 0.2 * value  # or every token would predict itself
            value = value * (row.head_gain * (5 if tied else 1) if final else 1) - offset
        elif any(part in name for part in EMBEDDINGS):
            value = row.embed_gain * (0.1 if tied else 0.5) * noise
        elif any(part in name for part in HEADS):
            value = 3 * row.head_gain * noise / p.shape[1] ** 0.5
        else:
            sharp = any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value", "c_attn"))
            turned = conv or row.config["model_type"] == "gpt_oss" and p.dim() == 3
            fan_in = p.shape[-2] if turned else p.shape[-1]
            # Routers are sharp: a token's experts are no toss-up.
            gain = 3 if ROUTER.search(name) else 1.4 if sharp else 1
            value = gain * row.matrix_gain * noise / fan_in**0.5
        p.data.copy_(value.to(getattr(torch, row.dtype)).float())
    for name, b in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            b.copy_(0.2 * torch.randn(b.shape, generator=g))


@torch.no_grad()
def greedy(model, ids: list[int], steps: int, least: float = -1) -> tuple[list[int], list[float]]:
    """Argmax continuation from all ids at every step, no cache; gives up at a margin below `least`."""
    out, margins = list(ids), []
    for _ in range(steps):
        best = model(torch.tensor([out]), use_cache=False).logits[0, -1].topk(2)
        margins.append(float(best.values[0] - best.values[1]))
        if margins[-1] < least:
            break
        out.append(int(best.indices[0]))
    return out[len(ids) :], margins


def prompt(row: Row, seed: int) -> list[int]:
    g = torch.Generator().manual_seed(seed)
    return [0] + torch.randint(2, row.config["vocab_size"], (row.prompt - 1,), generator=g).tolist()


@torch.no_grad()
def make(row: Row, out: Path, least: float, seeds: int) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    model = build(row, out)
    found = (0, -1, -1.0)  # seed, steps, smallest margin
    for seed in range(1, seeds):
        if row.predictors:
            model = build(row, out)
        fill(model, row, seed)
        if row.predictors:
            split_off(model, row, seed)
        continuation, margins = greedy(model, prompt(row, seed), row.greedy, least)
        varied = len(set(continuation)) > len(continuation) // 4
        if varied and len(continuation) > found[1]:
            found = (seed, len(continuation), min(margins))
        if varied and len(continuation) == row.greedy:
            break
    seed = found[0]
    model = build(row, out)
    fill(model, row, seed)
    predictors, modules = split_off(model, row, seed) if row.predictors else ({}, [])
    ids = prompt(row, seed)
    logits = model(torch.tensor([ids]), use_cache=False).logits[0].float()
    continuation, margins = greedy(model, ids, row.greedy)
    dtype = getattr(torch, row.dtype)
    weights = {n: p.detach().to(dtype).contiguous() for n, p in model.named_parameters()}
    weights |= {n: w.to(dtype).contiguous() for n, w in predictors.items() if "correction" not in n}
    weights |= {n: w.clone() for n, w in predictors.items() if "correction" in n}
    # Published in f32, whatever the weights are.
    weights |= {n: b.clone() for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")}
    save_file(row.rename(weights), out / "model.safetensors", metadata={"format": "pt"})
    beside = predicted(model, modules[0], ids) if modules else {}
    save_file({"logits": logits.contiguous(), **beside}, out / "golden.safetensors")
    for file in out.glob("*.safetensors"):
        file.chmod(0o644)
    golden = {
        "versions": versions(),
        "seed": seed,
        "contextTokens": row.context,
        "ids": ids,
        "greedy": continuation,
        "margins": rounded(margins, 4),
        "minMargin": rounded([min(margins)], 4)[0],
    }
    dump(out / "golden.json", golden)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(
        f"{row.name}: seed {seed}, {size} bytes, smallest margin {min(margins):.4f}, {len(set(continuation))} distinct ids, "
        f"logits {logits.min():.1f} to {logits.max():.1f}",
        flush=True,
    )


def positions() -> None:
    """inv_freq and attention factor of every regime, at lengths on both sides of each boundary."""
    base = dict(hidden_size=64, num_attention_heads=4, max_position_embeddings=128)
    factors = [1 + 0.25 * i for i in range(8)]
    regimes = {
        "default": dict(rope_theta=10000.0),
        "larger base": dict(rope_theta=1e6),
        "linear": dict(rope_theta=10000.0, rope_scaling=dict(type="linear", factor=4.0)),
        "dynamic": dict(rope_theta=10000.0, rope_scaling=dict(type="dynamic", factor=2.0)),
        "llama3": dict(
            rope_theta=500000.0,
            head_dim=64,
            rope_scaling=dict(
                rope_type="llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        "yarn": dict(
            head_dim=64,
            rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=256),
        ),
        "yarn, own betas and factor": dict(
            head_dim=64,
            rope_scaling=dict(
                rope_type="yarn",
                factor=16.0,
                original_max_position_embeddings=4096,
                beta_fast=20.0,
                beta_slow=2.0,
                attention_factor=1.5,
            ),
        ),
        "yarn, mscale, no rounding": dict(
            head_dim=64,
            rope_scaling=dict(
                rope_type="yarn",
                factor=40.0,
                original_max_position_embeddings=4096,
                mscale=0.707,
                mscale_all_dim=1.0,
                truncate=False,
            ),
        ),
        "longrope": dict(
            original_max_position_embeddings=64,
            rope_scaling=dict(type="longrope", short_factor=factors, long_factor=[4 * f for f in factors]),
        ),
        "longrope, own factor": dict(
            rope_scaling=dict(
                rope_type="longrope",
                factor=32.0,
                original_max_position_embeddings=64,
                short_factor=factors,
                long_factor=[4 * f for f in factors],
            ),
        ),
    }
    cases = []
    for name, fields in regimes.items():
        published = {"model_type": "llama", **base, **fields}
        config = AutoConfig.for_model(**published)
        dim = published.get("head_dim", 16)
        kind = config.rope_parameters["rope_type"]
        for length in (1, 63, 64, 65, 127, 128, 129, 512):
            if kind == "default":
                inverse, factor = (1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, dim, 2).double() / dim)), 1.0
            else:
                inverse, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
            cases.append({"name": name, "json": published, "length": length, "inverse": rounded(inverse, 9), "factor": factor})
    dump(OUT / "positions.json", {"versions": versions(), "cases": cases})
    print(f"positions.json: {len(cases)} cases")


# Rows whose frequencies depend on a request's length: what is changed of their config, the regimes by their longest requests,
# and lengths on both sides of each boundary.
REGIMES = {
    "phi3-longrope-long": ({}, (64, 128), (63, 64, 65, 128)),
    "llama-dynamic-long": ({"rope_scaling": dict(type="dynamic", factor=4.0)}, (64, 128, 256), (63, 64, 65, 128, 129, 256)),
}


@torch.no_grad()
def regimes(row: str) -> None:
    """Logits after sequences of each length, and what follows one prompt in each regime."""
    changed, longest, lengths = REGIMES[row]
    folder = OUT / row
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changed
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(2, config["vocab_size"], (max(lengths),), generator=g).tolist()
    with tempfile.TemporaryDirectory() as published:
        shutil.copy(folder / "model.safetensors", published)
        (Path(published) / "config.json").write_text(json.dumps(config), encoding="utf-8")

        def of(length: int | None):
            model = load(Path(published))
            if length is not None:
                fix_regime(model, length)
            return model

        whole, prompts = {}, {}
        for length in lengths:
            bound = next(most for most in longest if length <= most)
            fixed = of(bound)(torch.tensor([ids[:length]]), use_cache=False).logits[0, -1]
            # transformers as it is, which takes the length of each call: the same, but within one of our steps of dynamic NTK.
            own = of(None)(torch.tensor([ids[:length]]), use_cache=False).logits[0, -1]
            within = "dynamic" in str(changed) and length not in longest and length > longest[0]
            assert torch.allclose(fixed, own, atol=1e-5) != within, length
            whole[length] = rounded(fixed)
        for most in longest:
            first = of(most)(torch.tensor([ids[:40]]), use_cache=False).logits[0, -1]
            prompts[most] = {"logits": rounded(first), "greedy": greedy(of(most), ids[:40], 24)[0]}
    dump(folder / "regimes.json", {"versions": versions(), "config": changed, "ids": ids, "whole": whole, "prompt": 40, "regimes": prompts})
    print(f"{row}: regimes up to {longest}, lengths {lengths}")


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("rows", nargs="*", help="beginnings of names; all when none is given")
    args.add_argument("--out", type=Path, default=OUT)
    args.add_argument("--margin", type=float, default=0.02, help="smallest margin of a greedy step")
    args.add_argument("--seeds", type=int, default=60)
    args.add_argument("--positions", action="store_true")
    args.add_argument("--regimes", action="store_true")
    args = args.parse_args()
    torch.set_num_threads(1)
    if args.positions:
        positions()
        return
    if args.regimes:
        for name in REGIMES:
            regimes(name)
        return
    for row in ROWS:
        if not args.rows or any(row.name.startswith(text) for text in args.rows):
            make(row, args.out / row.name, args.margin, args.seeds)


if __name__ == "__main__":
    main()

"""Trains Tessera's embedded checkpoint: a Llama of about a million parameters that tells simple stories.

    python tools/train/train.py --minutes 55 --out demo/public/model

Corpora are found through TESSERA_SHARED (default: the folder "shared" next to the repository).
Nothing of tinystories/valid.txt is trained on; it is only measured.
"""

import argparse
import json
import math
import os
import random
import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TESSERA_SHARED", REPO.parent / "shared"))
EOT = "<|endoftext|>"
CONTEXT = 512
SHAPE = dict(
    vocab_size=2048,
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=5,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
)


# --- text -----------------------------------------------------------------------------------------


def stories(name: str, titled: bool = False) -> list[str]:
    """The documents of one corpus file. Picture books carry a title line, which is dropped."""
    docs = []
    for doc in (SHARED / "corpora" / name).read_text(encoding="utf-8").split(EOT):
        doc = doc.strip()
        if titled:
            doc = doc.split("\n", 1)[-1]
        doc = doc.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x00A0: " "})
        doc = "\n".join(line.strip() for line in doc.splitlines() if line.strip())
        if len(doc) >= 80 and "\u00e2\u20ac" not in doc and "\ufffd" not in doc:
            docs.append(doc)
    return docs


def training_documents() -> list[str]:
    return (
        stories("tinystories/train.txt")
        + stories("simple-stories/african-storybook.txt", titled=True)
        + stories("simple-stories/pratham-storyweaver.txt", titled=True)
    )


def make_tokenizer(docs: list[str]) -> Tokenizer:
    """Byte-level BPE; id 0 is <|endoftext|>, which also stands at the start of every document."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"],
        special_tokens=[EOT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(docs, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{EOT} $A", pair=f"{EOT} $A {EOT} $B", special_tokens=[(EOT, 0)]
    )
    return tokenizer


class Rows:
    """Endless rows of `length` + 1 ids. A row starts at the start of a document and is filled with
    whole documents; what no longer fits is cut. Every pass shuffles, so every pass cuts elsewhere."""

    def __init__(self, docs: list[list[int]], seed: int):
        self.docs, self.random, self.queue, self.passes = docs, random.Random(seed), [], 0

    def next(self, length: int) -> list[int]:
        row: list[int] = []
        while len(row) <= length:
            if not self.queue:
                self.queue = self.random.sample(self.docs, len(self.docs))
                self.passes += 1
            row += self.queue.pop()
        return row[: length + 1]

    def batch(self, tokens: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.tensor([self.next(length) for _ in range(tokens // length)])
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


# --- model ----------------------------------------------------------------------------------------


def make_model() -> LlamaForCausalLM:
    config = LlamaConfig(
        **SHAPE,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
        initializer_range=0.02,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def optimizers(model: LlamaForCausalLM, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding (also the head) and the norms."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    outer = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(inner, lr=muon_lr, momentum=0.95, weight_decay=0.1),
        torch.optim.AdamW(outer, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def next_token_loss(model: LlamaForCausalLM, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=x).logits
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), y.view(-1))


def rate(progress: float) -> float:
    """Share of the full learning rate: 1% warm-up, flat to 40%, then a cosine to zero."""
    if progress < 0.01:
        return progress / 0.01
    if progress < 0.4:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.4) / 0.6)))


@torch.no_grad()
def bits_per_byte(model: LlamaForCausalLM, docs: list[str], tokenizer: Tokenizer) -> float:
    """Every token of every document and the closing <|endoftext|>, each with at least half a context before it."""
    nats, size = 0.0, 0
    for doc in docs:
        ids = tokenizer.encode(doc).ids + [0]
        size += len(doc.encode("utf-8"))
        scored = 1
        while scored < len(ids):
            end = min(len(ids), CONTEXT if scored == 1 else scored + CONTEXT // 2)
            begin = max(0, end - CONTEXT)
            window = torch.tensor([ids[begin:end]])
            logp = F.log_softmax(model(window).logits[0, :-1].float(), -1)
            picked = logp.gather(1, window[0, 1:, None])[scored - begin - 1 :]
            nats -= picked.sum().item()
            scored = end
    return nats / math.log(2) / size


# --- the checkpoint -------------------------------------------------------------------------------


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path, facts: dict) -> None:
    """Writes the folder beside `out` and then swaps it in file by file, so that a reader sees no half file."""
    out.mkdir(parents=True, exist_ok=True)
    part = out.parent / (out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

    weights = {n: p.detach().to(torch.bfloat16).contiguous() for n, p in model.state_dict().items()}
    weights.pop("lm_head.weight", None)  # tied
    save_file(weights, part / "model.safetensors", metadata={"format": "pt"})

    config = model.config.to_dict()
    config.update(rope_theta=10000.0, rope_scaling=None, dtype="bfloat16", torch_dtype="bfloat16", use_cache=True)
    config["architectures"] = ["LlamaForCausalLM"]
    keep = (
        "architectures attention_bias attention_dropout bos_token_id dtype eos_token_id head_dim hidden_act hidden_size "
        "initializer_range intermediate_size max_position_embeddings mlp_bias model_type num_attention_heads "
        "num_hidden_layers num_key_value_heads rms_norm_eps rope_parameters rope_scaling rope_theta "
        "tie_word_embeddings torch_dtype transformers_version use_cache vocab_size"
    ).split()
    write_json(part / "config.json", {k: config[k] for k in keep if k in config})
    write_json(
        part / "generation_config.json",
        {"bos_token_id": 0, "eos_token_id": 0, "do_sample": True, "temperature": 0.8, "top_p": 0.95},
    )
    tokenizer.save(str(part / "tokenizer.json"))
    token = dict(content=EOT, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    write_json(
        part / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_prefix_space": False,
            "added_tokens_decoder": {"0": token},
            "bos_token": EOT,
            "clean_up_tokenization_spaces": False,
            "eos_token": EOT,
            "model_max_length": CONTEXT,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": None,
        },
    )
    (part / "README.md").write_text(card(facts), encoding="utf-8")
    for file in part.iterdir():
        file.chmod(0o644)
        os.replace(file, out / file.name)
    part.rmdir()


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def card(facts: dict) -> str:
    template = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    return template.format(**facts)


# --- training -------------------------------------------------------------------------------------


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=Path, default=REPO / "demo/public/model")
    args.add_argument("--minutes", type=float, default=55, help="wall time of training; the schedule follows it")
    args.add_argument("--steps", type=int, help="train this many steps instead: the same on every machine")
    args.add_argument("--snapshots", type=float, nargs="*", default=[], help="minutes after which to save early")
    args.add_argument("--batch", type=int, default=8192, help="tokens a step")
    args.add_argument("--muon-lr", type=float, default=0.02)
    args.add_argument("--adam-lr", type=float, default=0.004)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--seed", type=int, default=1234)
    args.add_argument("--no-compile", action="store_true", help="where torch.compile finds no C++ compiler")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    docs, valid = training_documents(), stories("tinystories/valid.txt")
    tokenizer = make_tokenizer(docs)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(docs)]
    rows = Rows(ids, args.seed)
    model = make_model()
    loss_of = next_token_loss if args.no_compile else torch.compile(next_token_loss, dynamic=False)
    opts = optimizers(model, args.muon_lr, args.adam_lr)
    base = [group["lr"] for opt in opts for group in opt.param_groups]
    count = sum(p.numel() for p in model.parameters())
    text = sum(len(d.encode("utf-8")) for d in docs)
    print(f"{count} parameters; {len(docs)} documents, {text} bytes, {sum(map(len, ids))} tokens", flush=True)

    def finish(step: int, subset: int | None) -> None:
        rounded = make_model()
        rounded.load_state_dict({n: p.detach().bfloat16().float() for n, p in model.state_dict().items()})
        rounded.eval()
        bpb = bits_per_byte(rounded, valid[:subset], tokenizer)
        seen = step * args.batch
        facts = dict(
            SHAPE, parameters=f"{count:,}", steps=f"{step:,}", seen=f"{seen / 1e6:.1f}", passes=rows.passes,
            bpb=f"{bpb:.4f}", context=CONTEXT, documents=f"{len(docs):,}", megabytes=f"{text / 1e6:.1f}",
            batch=f"{args.batch:,}",
        )
        save(model, tokenizer, args.out, facts)
        print(f"saved at step {step}: {bpb:.4f} bits per byte on the validation stories", flush=True)

    start, step, snapshots = time.time(), 0, sorted(args.snapshots)
    while True:
        minutes = (time.time() - start) / 60
        progress = step / args.steps if args.steps else minutes / args.minutes
        if progress >= 1:
            break
        for group, lr in zip((g for opt in opts for g in opt.param_groups), base):
            group["lr"] = lr * rate(progress)
        x, y = rows.batch(args.batch, CONTEXT // 2 if progress < 0.6 else CONTEXT)  # short rows first: cheaper
        loss = loss_of(model, x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0 or step < 5:
            print(f"step {step}  {minutes:.1f} min  loss {loss.item():.4f}  lr x{rate(progress):.3f}", flush=True)
        if snapshots and minutes >= snapshots[0]:
            snapshots.pop(0)
            finish(step, 40)
    finish(step, None)


if __name__ == "__main__":
    main()

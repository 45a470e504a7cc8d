"""What Hugging Face transformers computes from a checkpoint, in float32 on the CPU, as a JSON file of goldens.

    python tools/oracle/golden.py MODEL_DIR OUT.json
    python tools/oracle/golden.py MODEL_DIR OUT.json --prompts "Once upon a time" "" --score "A text to score."

The weights are read as published (f32, f16, bf16) and raised to float32; every sum is in float32. Greedy continuation
does not stop at the end token. `margins` is the distance of the two best logits at each greedy step: an engine that
sums in another order must agree where the margin is larger than its error.
"""

import argparse
import hashlib
import json
from pathlib import Path

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

PROMPTS = [
    "",
    "Once upon a time",
    'Lily saw a big dog in the park. She said, "Hello, dog!',
    "Sam and Mia wanted to bake a cake for their grandma. They took flour, eggs and milk, and then",
    "One day, a little bird named Pip fell out of his nest. Pip was too small to fly, and he was very sad. "
    'A kind squirrel named Sam heard him cry. Sam ran down the tree and asked, "What is wrong, little bird?" '
    'Pip said, "I fell from my nest, and I can not go home. My mom is not here, and it will be dark soon." '
    'Sam looked up at the tall tree. He thought and thought. Then he said, "I have an idea! Hold on to my tail, '
    'and I will carry you up."\nPip held on to the soft tail, and',
]
SCORE = (
    "Anna and Ben went to the beach with their dad. The sun was hot and the water was blue. They made a big castle of sand "
    "and put a small flag on top. Then a wave came and took the castle away. Ben was sad, but Anna laughed and said, "
    '"It is okay, Ben. We can make a new one, and this time it will be bigger!"\nDad helped them. They worked all day. '
    "When the sun went down, they had the best castle on the beach, and they were very happy."
)
GREEDY = 64
REPO = Path(__file__).resolve().parents[2]


def rounded(values: torch.Tensor | list[float], digits: int = 7) -> list[float]:
    return [float(f"{float(v):.{digits}g}") for v in values]


def greedy(model, ids: list[int], steps: int = GREEDY) -> tuple[list[int], list[float]]:
    """Argmax continuation, recomputed from all ids at every step (no cache), and the margin of each step."""
    out, margins = list(ids), []
    for _ in range(steps):
        best = model(torch.tensor([out])).logits[0, -1].topk(2)
        margins.append(float(best.values[0] - best.values[1]))
        out.append(int(best.indices[0]))
    return out[len(ids) :], margins


transformers.utils.logging.disable_progress_bar()


def load(folder: Path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    assert all(p.dtype == torch.float32 for p in model.parameters())
    return model.eval()


def versions() -> dict:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }


def dump(path: Path, value: dict) -> None:
    """JSON with one line for each list of plain values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lists: list[str] = []

    def flat(node):
        if isinstance(node, dict):
            return {k: flat(v) for k, v in node.items()}
        if isinstance(node, list):
            if any(isinstance(v, dict) for v in node):
                return [flat(v) for v in node]
            lists.append(json.dumps(node, separators=(",", ":")))
            return f"\u0000{len(lists) - 1}\u0000"
        return node

    text = json.dumps(flat(value), indent=1, ensure_ascii=False)
    for i, line in enumerate(lists):
        text = text.replace(f'"\\u0000{i}\\u0000"', line)
    path.write_text(text + "\n", encoding="utf-8")


@torch.no_grad()
def golden(folder: Path, prompts: list[str], score: str) -> dict:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = load(folder)
    cases = []
    for prompt in prompts:
        ids = tokenizer.encode(prompt).ids
        logits = model(torch.tensor([ids])).logits[0, -1]
        continuation, margins = greedy(model, ids)
        cases.append(
            {
                "prompt": prompt,
                "ids": ids,
                "logits": rounded(logits),
                "greedy": continuation,
                "text": tokenizer.decode(continuation, skip_special_tokens=False),
                "margins": rounded(margins, 4),
                "minMargin": rounded([min(margins)], 4)[0],
            }
        )
    ids = tokenizer.encode(score).ids
    logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    picked = [float(logp[i - 1, ids[i]]) for i in range(1, len(ids))]
    return {
        "note": "Hugging Face transformers, float32 compute on the checkpoint's own weights; logits of the last prompt "
        "token; greedy = argmax without stopping at the end token; score.logprobs[i] belongs to ids[i + 1]",
        "versions": versions(),
        "weightsSha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "cases": cases,
        "score": {"text": score, "ids": ids, "logprobs": rounded(picked)},
    }


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model", type=Path, metavar="MODEL_DIR")
    args.add_argument("out", type=Path, metavar="OUT.json")
    args.add_argument("--prompts", nargs="+", default=PROMPTS)
    args.add_argument("--score", default=SCORE)
    args.add_argument("--threads", type=int, default=2)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    result = golden(args.model, args.prompts, args.score)
    dump(args.out, result)
    for case in result["cases"]:
        print(f"{len(case['ids'])} ids, smallest margin {case['minMargin']}: {case['prompt'][:40]!r} → {case['text']!r}")
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()

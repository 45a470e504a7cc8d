"""Goldens of the text room: what Hugging Face's tokenizers library (Rust) makes of texts and ids.

    python tools/oracle/tokenizer_goldens.py SHARED_TOKENIZERS_DIR

Writes tests/fixtures/tokenizers/: two small tokenizers trained here on the text below (byte-level BPE, and
SentencePiece-like BPE with byte fallback), `goldens.json` (texts, ids, decoded texts; of the large tokenizers, which are
not in this repository, only hashes), and `parts.json` (single pre-tokenizers and decoders).
"""

import hashlib
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer, __version__, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/tokenizers"

TEXT = """A small fox found a red kite on the hill. "Whose kite is this?" the fox asked the wind.
The wind did not say. It only pushed the kite, and the kite pulled the string, and the fox held on.
They went over the river, over the mill, over the little town where the baker's bread was cooling.
"I can see my house!" said the fox. "I can see the sea! It's bigger than I thought, isn't it?"
The rain came at 4 o'clock. The fox counted 1, 2, 3, 10, 25, 100 drops and then didn't count any more.
In Köln, Zürich und Genf regnet es auch; à Paris il fait déjà nuit, et l'été est fini.
def count(drops):\n    total = 0\n    for drop in drops:\n        total += drop\n    return total
Когда дождь кончился, лиса пошла домой. 雨が止んで、狐は家に帰りました。下雨了，狐狸回家了。
The kite was wet, the string was wet, the fox was wet, and all three of them were happy. 🦊🪁 The end!
"""

LETTERS = list("abcdefgh ABCZ 0123456789  \n\t.,!?'\"-_()/<>|") + [
    "'s", "'re", "don't", " n't", "the", " fox", " kite", "½", "²", "Ⅷ", "٣", "é", "ü", "ø", "ñ", "中", "文", "の", "한",
    "🦙", "👩\u200d💻", "\u200d", "\ufeff", "\u0085", "\u00a0", "\u3000", "\u2028", "ﬁ", "e\u0301", "\0", "\x7f", "—", "“",
    "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "Käse", "  ", "\r\n", "\r", "    ", "▁", "Ġ", "ı", "İ", "ß", "ǅ", "𝔘",
    "\U0010ffff", "\u0600", "①", "µ", "ʼ", "ſ", "K", "<0x41>", "<0xE2>",
]  # fmt: skip

PRE_TOKENIZERS = [
    {"type": "Digits", "individual_digits": True},
    {"type": "Digits", "individual_digits": False},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    {"type": "Whitespace"},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False},
    *({"type": "Punctuation", "behavior": b}
      for b in ["Isolated", "Contiguous", "Removed", "MergedWithPrevious", "MergedWithNext"]),
    *({"type": "Split", "pattern": p, "behavior": b, "invert": False}
      for p in [{"String": " "}, {"String": "."}, {"Regex": "\\d+|a|bc"}]
      for b in ["Isolated", "Contiguous", "Removed", "MergedWithPrevious", "MergedWithNext"]),
    {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\p{N}"}, "behavior": "Removed", "invert": True},
    {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
]  # fmt: skip

REPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
FALLBACK, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}


def strip(start, stop):
    return {"type": "Strip", "content": " ", "start": start, "stop": stop}


DECODERS = [
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Sequence", "decoders": [REPLACE, FALLBACK, FUSE, strip(1, 0)]},
    {"type": "Sequence", "decoders": [REPLACE, FALLBACK, FUSE, strip(2, 1)]},
    {"type": "Sequence", "decoders": [REPLACE, strip(1, 0), FALLBACK, FUSE]},
    {"type": "Sequence", "decoders": [REPLACE, FALLBACK, FUSE]},
    {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"Regex": "[▁_]+"}, "content": "$&"}, FUSE]},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
]

# Valid UTF-8 in byte tokens, as a model writes it; of an invalid run the reference drops more than we do (decoder.ts).
PIECES = [
    ["▁The", "▁fox", "▁", "▁", "ran", "."], ["▁▁", "▁a"], ["▁"], ["▁", "▁"], ["▁▁▁▁", "x", "▁▁▁"],
    ["a", "<0xF0>", "<0x9F>", "<0xA6>", "<0x8A>", "▁b"], ["<0xE2>", "<0x82>", "<0xAC>", "<0x0A>", "<0x41>"],
    ["<0xEF>", "<0xBB>", "<0xBF>", "x"], ["<0x41", "0x41>", "<0xZZ>", "<0x4>"], ["__", "▁_▁", "a_b"], [" ", " ", "a", " "],
    ["Ġthe", "Ġ", "Ċ", "ĠfÃ¼r"], ["ðŁ", "¦", "Ĭ"], ["plain", "text", "ü"], ["Ã", "¼"], ["中", "Ġx"], ["é"], [],
]  # fmt: skip


def minimal(**fields):
    """A tokenizer that has nothing but the given part."""
    empty = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **empty, "model": model, **fields}))


def digest(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=["<|endoftext|>", "<|im_start|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT.splitlines(keepends=True), trainer)
    tokenizer.add_tokens(["Käse", "    "])
    return json.loads(tokenizer.to_str())


def byte_fallback():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=560, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXT.splitlines()[:5], trainer)  # other scripts are left to the byte tokens
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    trained = json.loads(tokenizer.to_str())
    trained["added_tokens"] = trained["added_tokens"][:3]
    return trained


def decode(part, pieces):
    """None where the reference crashes: its Strip panics on a text shorter than what is to be stripped."""
    try:
        return minimal(decoder=part).decoder.decode(pieces)
    except BaseException:  # pyo3's PanicException is not an Exception
        return None


def plain_ids(tokenizer, ids):
    """Without added tokens: in decoding those, the reference has faults of its own (tests/text/tokenizer.test.ts)."""
    added = tokenizer.get_added_tokens_decoder()
    return [token for token in ids if token not in added]


def main():
    shared = pathlib.Path(sys.argv[1])
    rng = random.Random(7)
    texts = ["".join(rng.choice(LETTERS) for _ in range(rng.randint(0, 40))) for _ in range(200)] + TEXT.splitlines()
    OUT.mkdir(parents=True, exist_ok=True)
    own = {}
    for name, trained in {"byte-level": byte_level(), "byte-fallback": byte_fallback()}.items():
        (OUT / f"{name}.json").write_text(json.dumps(trained, ensure_ascii=False) + "\n", encoding="utf-8")
        tokenizer = Tokenizer.from_str(json.dumps(trained))
        ids = [tokenizer.encode(text).ids for text in texts]
        own[name] = {"ids": ids, "decoded": [tokenizer.decode(plain_ids(tokenizer, row)) for row in ids]}
    large = {}
    for folder in sorted(path.parent for path in shared.glob("*/tokenizer.json")):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        decoded = [tokenizer.decode(plain_ids(tokenizer, row)) for row in ids]
        large[folder.name] = {"ids": [digest(row) for row in ids], "decoded": [digest(text) for text in decoded]}
    write("goldens.json", {"tokenizers": __version__, "texts": texts, "own": own, "shared": large})

    some = texts[:12] + ["the-final--countdown... a  b", "Hello, world! 12½3", "   ", "", " a", "a "]
    write("parts.json", {
        "tokenizers": __version__,
        "texts": some,
        "preTokenizers": [
            {"json": part, "pieces": [
                [piece for piece, _ in minimal(pre_tokenizer=part).pre_tokenizer.pre_tokenize_str(text)] for text in some
            ]} for part in PRE_TOKENIZERS
        ],
        "pieces": PIECES,
        "decoders": [
            {"json": part, "decoded": [decode(part, row) for row in PIECES]} for part in DECODERS
        ],
    })  # fmt: skip


def write(name, value):
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

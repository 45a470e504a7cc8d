"""Goldens of chat templates: what transformers (jinja2) renders of them.

    python tools/oracle/chat_goldens.py SHARED_TEMPLATES_DIR

Writes tests/fixtures/chat/goldens.json: the conversations, and for each template and conversation the rendered text, or
the error where Python refuses. Our own templates lie beside it; the published ones are not in this repository, and of
most of their texts only length and hash are kept.
"""

import datetime
import hashlib
import json
import pathlib
import sys

import jinja2
import transformers
from transformers.utils import chat_template_utils

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/chat"
NOW = datetime.datetime(2024, 7, 6, 9, 5, 7)

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather <now> in a "city".',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Köln, Zürich"},
                "days": {"type": "integer", "enum": [1, 2, 3]},
                "exact": {"type": "boolean", "default": False},
            },
            "required": ["city"],
        },
    },
}

USER = [{"role": "user", "content": "Hello, what is 2 + 2?"}]
SYSTEM = [
    {"role": "system", "content": 'You are a <careful> & "kind" assistant.'},
    {"role": "user", "content": "Grüße aus Köln 🦙\n  two  lines"},
    {"role": "assistant", "content": " It's 4.\n"},
    {"role": "user", "content": "Why?"},
]
TURNS = [
    {"role": ["user", "assistant"][i % 2], "content": f"Line {i}.\n\n<think>\nhm\n</think>\n\n  tail {i} "} for i in range(7)
]

CONVERSATIONS = {
    "user": {"messages": USER},
    "system": {"messages": SYSTEM},
    "turns": {"messages": TURNS},
    "closed": {"messages": TURNS[:6], "add_generation_prompt": False},
    "tools": {"messages": USER, "tools": [TOOL]},
    "unanswered": {"messages": USER * 2},
}
WHOLE = ["user", "system"]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(source, conversation):
    given = {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **conversation}
    messages = given.pop("messages")
    try:
        return {"text": chat_template_utils.render_jinja_template([messages], chat_template=source, **given)[0][0]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def digest(outcome):
    """16 hexadecimal digits of SHA-256 over UTF-8."""
    text = outcome.get("text")
    if text is None:
        return outcome
    return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()[:16]}


def main():
    chat_template_utils.datetime = Clock
    goldens = {}
    for name, folder in {"own": OUT, "shared": pathlib.Path(sys.argv[1])}.items():
        goldens[name] = {
            path.name: {key: render(path.read_text(encoding="utf-8"), given) for key, given in CONVERSATIONS.items()}
            for path in sorted(folder.glob("*.jinja"))
        }
    for outcomes in goldens["shared"].values():
        for key in outcomes.keys() - set(WHOLE):
            outcomes[key] = digest(outcomes[key])
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    content = {**versions, "now": NOW.isoformat(), "conversations": CONVERSATIONS, **goldens}
    (OUT / "goldens.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

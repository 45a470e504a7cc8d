import { MADE_MODELS } from "../bench/models.ts";

/** The commands and what is said of them. What `perplexity` computes is defined here, for its users. */
export const COMMANDS = ["generate", "logits", "perplexity", "inspect", "bench"] as const;
export type Command = (typeof COMMANDS)[number];

export function isCommand(word: string): word is Command {
  return (COMMANDS as readonly string[]).includes(word);
}

const GENERATE = `tessera generate   --model M (--prompt TEXT | --ids 1,2,3 | --messages FILE) [--max-tokens N]
                   [--temperature T] [--seed S] [--top-k K] [--top-p P] [--stop TEXT]… [--n N] [--weights W] [--kv K] [--json]`;
const LOGITS = "tessera logits     --model M --ids 1,2,3 --out FILE.safetensors [--weights W] [--kv K]";
const PERPLEXITY = "tessera perplexity --model M --text FILE [--weights W] [--kv K] [--json]";
const INSPECT = "tessera inspect    --model M [--weights W] [--memory BYTES] [--tensors] [--json]";

const BENCH = `tessera bench      kernels [--filter WORDS] [--quick | --full] [--json]
                   decode [--model M | --shape NAME] [--context 64,512] [--sequences 1,2,4,8] [--tokens N] [--json]
                   prefill [--model M | --shape NAME] [--prompt 64,256] [--json]`;

const MODEL = `  --model M          a folder with config.json, tokenizer.json and *.safetensors: its path, its URL, or a Hub id org/name
  --weights W        resident weights: published (default), f32, bf16, f16, q8 or q4 (quantised while loading, 32 weights
                     to a scale), or auto: the most bits that fit, as published, q8 or q4
  --kv K             format of the cache: f32, f16, int8; default f32 for f32 weights, else f16
  --deterministic    the same request gives the same bits in any company; slower prompts
  --context N        tokens that one sequence may hold; default the checkpoint's own, at most 4096
  --revision R       of a Hub id: branch, tag or commit; default main
  --endpoint URL     another Hub than huggingface.co`;

const MEMORY = "  --memory BYTES     GPU memory that may be taken; the cache shrinks to fit";

const SHAPES = MADE_MODELS.map(({ name }, i) => (i === 0 ? `${name} (default)` : name)).join(", ");

const EXITS = `Exit status: 0 done; 1 the model, a file or the GPU stands in the way; 2 the command line is wrong, or there is no
WebGPU adapter; 70 a fault of Tessera's; 130 ended by Ctrl-C.`;

export const OVERVIEW = `Usage:
${GENERATE}
${LOGITS}
${PERPLEXITY}
${INSPECT}
${BENCH}
tessera COMMAND --help | --version`;

function text(synopsis: string, ...parts: string[]): { synopsis: string; text: string } {
  const usage = `Usage:\n${synopsis}`;
  return { synopsis: usage, text: [usage, ...parts, EXITS].join("\n\n") };
}

export const HELP: Record<Command, { synopsis: string; text: string }> = {
  generate: text(
    GENERATE,
    `Continues a prompt. The text streams to stdout, a line of figures goes to stderr. Ctrl-C ends it with what there is.`,
    `${MODEL}
${MEMORY}
  --prompt TEXT      a text; it gets the tokenizer's own special tokens, such as BOS
  --ids 1,2,3        token ids, taken as they are
  --messages FILE    JSON: a list of {"role", "content"}, or {"messages": […]}; put through the chat template
  --max-tokens N     default 512, cut to what the context still holds
  --temperature T    0 is greedy; default 1
  --seed S           of the draw, 0 to 4294967295; the same seed gives the same tokens; default random
  --top-k K          draw from the K likeliest tokens only; --top-p P from those that hold the probability P between
  --top-p P          them; --min-p P from those at least P times as likely as the likeliest
  --min-p P
  --repetition-penalty R, --frequency-penalty F, --presence-penalty F
                     of tokens that were there before; 1, 0 and 0 are off
  --logprobs N       with --json: log-probabilities of each token and of the N likeliest in its place
  --stop TEXT        ends the text, and is cut from it; may be given several times
  --n N              continuations of the one prompt
  --json             one JSON object on stdout instead: ids, text, finishReason, usage {promptTokens,
                     completionTokens}, timing {loadMs, firstTokenMs, decodeMs, totalMs, tokensPerSecond},
                     adapter {vendor, architecture, description, shaderF16, subgroups}; choices when N > 1`,
  ),
  logits: text(
    LOGITS,
    `Writes a safetensors file with one F32 tensor "logits" of shape [ids, vocabulary]; row i is for the token after id i.`,
    `${MODEL}
${MEMORY}
  --ids 1,2,3        token ids, taken as they are
  --out FILE         the file to write; it appears when it is complete`,
  ),
  perplexity: text(
    PERPLEXITY,
    `Measures how well the model predicts a text (UTF-8).

The text becomes ids without special tokens, cut into windows of the context's length that do not overlap. Each window
starts with the special tokens that the tokenizer puts before a text (BOS), which are not scored; where it has none, with
the last id of the window before. So every id of the text is scored once, given what is before it in its window; without
BOS the very first id has nothing before it and is left out, its bytes too.

A line that holds nothing but <|endoftext|> separates documents: each is a text of its own, and the separators are neither
scored nor counted, so that bits per byte can be compared between models, whatever their tokenizers make of that line.

  nats per token     −Σ ln p(id) / tokens
  bits per byte      −Σ log2 p(id) / bytes
  perplexity         exp(nats per token)
  tokens, bytes      ids scored, and UTF-8 bytes of the text they stand for`,
    `${MODEL}
${MEMORY}
  --text FILE        the text
  --json             one JSON object on stdout instead: natsPerToken, bitsPerByte, perplexity, tokens, bytes, documents,
                     windows, seconds (of scoring), adapter`,
  ),
  inspect: text(
    INSPECT,
    `Says what a checkpoint is, from its JSON files and the headers of its weights. Needs no GPU.`,
    `${MODEL}
${MEMORY}; with --weights auto: what is chosen for
  --tensors          list every tensor too
  --json             one JSON object on stdout instead: the fields of Engine.model; heads, kvHeads, headDim; files, dtypes
                     and, with --tensors, tensors`,
  ),
  bench: text(
    BENCH,
    `bench kernels measures this device, and every kernel on it: what it can read and multiply at most, then for each kernel
over the layers of three models its time, its rates and its share of the roof that bounds it (roofline: the longer of its
bytes at the measured bandwidth and its operations at the measured rate). Bytes, operations, dispatches and barriers are
counted, not timed. Times are slopes over many runs in one pass, on weights that are not in the cache; compiling is not in them.`,
    `  --filter WORDS     only cases whose name has all these words, such as "linear q4 m1" or "attention decode"
  --quick            the smallest model and few rounds; what a software device gets anyway
  --full             everything on a software device too
  --json             one JSON object on stdout instead: device, software, agent, version, date, clock, tuning,
                     peaks {readGBs, f32GFLOPs, f16GFLOPs, dispatchUs, submitUs},
                     cases [{name, ms, spread, gbPerS, gflopPerS, share, boundBy, bytes, flops, dispatches, …}], skipped`,
    `bench decode and bench prefill run whole requests through the engine, greedy and without an end token: a token at a time
behind a context that is in the cache, for one sequence and for several together; and a prompt up to its first token, never
from the cache. Beside the times stand what is counted: dispatches and submits a step, milliseconds of JavaScript, bytes of weights
and cache or operations, and the floor that these have on the peaks of this device.`,
    `  --shape NAME       make a model with random weights: ${SHAPES}
  --model M          a checkpoint instead; --weights, --kv, --memory, --revision, --endpoint and --deterministic as of generate,
                     but a made model has q4 weights where nothing else is said
  --context C,C,…    decode: tokens in the cache before the first that is timed; default 64,512, on a GPU 64,1024,4096
  --sequences N,N,…  decode: how many decode together; one at each context, more at the first; default 1,2,4,8
  --tokens N         decode: of each sequence in a round; default 16, on a GPU 64
  --prompt P,P,…     prefill: tokens of a prompt; default 64,256, on a GPU 64,512,2048
  --rounds N         rounds of each row, of which the medians are told; default 3, on a GPU 5
  --json             one JSON object on stdout instead: device, software, agent, version, date, peaks, model, loadMs,
                     rows [{ms, spread, tokensPerS, hostMs, dispatches, submits, bytes, floorMs, share, …}]`,
  ),
};

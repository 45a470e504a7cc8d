/** The demo: wires the page to one engine. */
import {
  TesseraError,
  type ChatMessage,
  type Engine,
  type GenerateOptions,
  type GenerationResult,
  type LoadProgress,
} from "../src/index.ts";
import { write } from "./generate.ts";
import { builtIn, chosenFiles, droppedSource, ModelSlot, parseAddress, pickFolder, type NamedSource } from "./load.ts";
import * as view from "./view.ts";
import { finishInWords, LoadMeter } from "./words.ts";

const { refs } = view;

const STORY_EXAMPLES = [
  "Once upon a time, there was a little fox who",
  "One day, Anna found a shiny stone",
  "The old turtle said to the bird,",
];
const CHAT_EXAMPLES = ["Hello! How are you today?", "Tell me a short story about a turtle."];

const slot = new ModelSlot();
let conversation: ChatMessage[] = [];
let writing: { abort: AbortController; done: Promise<void> } | null = null;

const chatMode = () => !refs.modes.hidden && new FormData(refs.composer).get("mode") === "chat";
const status = (text: string) => (refs.status.textContent = text);

// --- loading ---------------------------------------------------------------------------------------------------

let loads = 0;

/**
 * Loads, and on failure or cancel goes back to the model that was there, whose memory the attempt had to take
 * (`returning`). What is written on the page stays.
 */
async function load(named: NamedSource, returning = false): Promise<void> {
  const turn = ++loads;
  const former = slot.loaded;
  writing?.abort.abort();
  await writing?.done;
  if (turn !== loads) return;
  view.showWriting(false, false);
  view.showLoading(named.name);
  status(`Loading ${named.name}.`);
  try {
    const meter = new LoadMeter();
    const engine = await slot.load(named, (progress) => {
      if (progress.recovering) showRecovery(progress);
      else view.showProgress(meter.add(progress));
    });
    if (turn !== loads) return;
    view.showModel(named.name, engine.model);
    view.showStats(engine.stats(), engine.model, null);
    view.showWriting(false, true);
    refs.writeError.hidden = true;
    if (named !== former) begin(engine.model.chatTemplate);
    if (!returning) view.showSources(false);
    status(returning ? `Ready, back at ${named.name}.` : "Ready.");
  } catch (error) {
    if (turn === loads) await failed(error, returning || named === former ? null : former);
  }
}

/** The engine finds its way back by itself, and what is being written goes on afterwards. */
function showRecovery({ stage }: LoadProgress): void {
  status(
    stage === "ready" ? "The graphics card is back." : "The graphics card was lost. The model is put on it again.",
  );
}

/** Another model than before: its own mode, and no memory of what was said. */
function begin(chat: boolean): void {
  for (const radio of refs.modes.querySelectorAll("input")) radio.checked = radio.value === (chat ? "chat" : "story");
  showMode();
}

async function failed(error: unknown, back: NamedSource | null): Promise<void> {
  const code = error instanceof TesseraError ? error.code : null;
  if (code === "no-adapter") {
    view.showNoModel();
    view.showNoWebgpu(error instanceof Error ? error.message : undefined);
    status("No graphics card is available to this page.");
    return;
  }
  if (code !== "abort") view.showError(refs.loadError, error);
  if (back) return load(back, true);
  view.showNoModel();
  view.showSources(true);
  status(code === "abort" ? "Loading cancelled. No model is loaded." : "No model is loaded.");
}

/** Takes a source that may not come to be (a cancelled picker, a mistyped address) and loads it. */
async function loadFrom(find: () => NamedSource | null | Promise<NamedSource | null>): Promise<void> {
  refs.loadError.hidden = true;
  try {
    const named = await find();
    if (named) await load(named);
  } catch (error) {
    view.showError(refs.loadError, error);
  }
}

refs.toggleSources.addEventListener("click", () => view.showSources(Boolean(refs.sources.hidden)));
refs.urlForm.addEventListener("submit", (event) => {
  event.preventDefault();
  void loadFrom(() => parseAddress(refs.modelUrl.value, document.baseURI));
});
refs.chooseFolder.addEventListener("click", () => void loadFrom(() => pickFolder(refs.folderInput)));
refs.folderInput.addEventListener("change", () => {
  void loadFrom(() => chosenFiles(refs.folderInput));
  refs.folderInput.value = ""; // so that the same folder can be chosen again
});
refs.loadBuiltIn.addEventListener("click", () => void loadFrom(builtIn));
refs.reload.addEventListener("click", () => void loadFrom(() => slot.loaded));
refs.cancelLoad.addEventListener("click", () => slot.cancel());

let dragDepth = 0; // enter and leave also fire between the page's own elements
const dragsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
const showVeil = (depth: number) => {
  dragDepth = depth;
  refs.dropVeil.hidden = depth === 0;
};
window.addEventListener("dragenter", (event) => dragsFiles(event) && showVeil(dragDepth + 1));
window.addEventListener("dragleave", (event) => dragsFiles(event) && showVeil(Math.max(0, dragDepth - 1)));
window.addEventListener("dragover", (event) => dragsFiles(event) && event.preventDefault());
window.addEventListener("drop", (event) => {
  const { dataTransfer } = event;
  if (!dataTransfer || !dragsFiles(event)) return;
  event.preventDefault();
  showVeil(0);
  void loadFrom(() => droppedSource(dataTransfer));
});

// --- writing ---------------------------------------------------------------------------------------------------

/** The text on the page stays until the next one begins. */
function showMode(): void {
  const chat = chatMode();
  view.showMode(chat, chat ? CHAT_EXAMPLES : STORY_EXAMPLES);
  conversation = [];
}

type Settings = GenerateOptions & { maxTokens: number; seed: number };

/** An empty seed field draws one here, so that the page can name it. */
function settings(signal: AbortSignal): Settings {
  const seed = Number.isNaN(refs.seed.valueAsNumber)
    ? crypto.getRandomValues(new Uint32Array(1))[0]!
    : refs.seed.valueAsNumber;
  return { maxTokens: refs.maxTokens.valueAsNumber, temperature: refs.temperature.valueAsNumber, seed, signal };
}

async function generate(): Promise<void> {
  const { engine } = slot;
  if (writing || !engine) return;
  const abort = new AbortController();
  let finish = () => {};
  writing = { abort, done: new Promise((resolve) => (finish = resolve)) };
  refs.writeError.hidden = true;
  refs.loadError.hidden = true;
  view.showWriting(true, true);
  status("Writing.");
  const before = engine.stats();
  const showStats = () => {
    const now = engine.stats();
    const steps = now.steps - before.steps;
    view.showStats(now, engine.model, steps > 0 ? (now.dispatches - before.dispatches) / steps : null);
  };
  const ticking = setInterval(showStats, 250);
  try {
    const options = settings(abort.signal);
    refs.seedHint.textContent = `this text: ${options.seed}`;
    const { finishReason, usage } = await (chatMode() ? answer(engine, options) : story(engine, options));
    status(finishInWords(finishReason, usage.completionTokens));
    showStats();
  } catch (error) {
    view.showError(refs.writeError, error);
    refs.reload.hidden = !isOver(error);
    status("The generation failed. What was written so far is kept.");
  } finally {
    clearInterval(ticking);
    writing = null;
    view.showWriting(false, true);
    finish();
  }
}

/** After these the engine will answer nothing more. */
function isOver(error: unknown): boolean {
  return (
    error instanceof TesseraError && ["device-lost", "gpu", "out-of-memory", "worker", "disposed"].includes(error.code)
  );
}

async function story(engine: Engine, options: Settings): Promise<GenerationResult> {
  view.clearPage();
  return grow(engine, view.Growing.story(refs.prompt.value), refs.prompt.value, options);
}

/** A message leaves the prompt field when its answer begins; one that is not answered stays there. */
async function answer(engine: Engine, options: Settings): Promise<GenerationResult> {
  const talk = conversation;
  const question: ChatMessage = { role: "user", content: refs.prompt.value };
  if (talk.length === 0) view.clearPage();
  const text = view.Growing.answer(question.content);
  let said = "";
  try {
    return await grow(engine, text, [...talk, question], options, (piece) => {
      if (said === "" && refs.prompt.value === question.content) refs.prompt.value = "";
      said += piece;
    });
  } finally {
    if (said === "") text.withdraw();
    else talk.push(question, { role: "assistant", content: said });
  }
}

async function grow(
  engine: Engine,
  text: view.Growing,
  input: string | ChatMessage[],
  options: Settings,
  onText?: (piece: string) => void,
): Promise<GenerationResult> {
  let whole = false;
  try {
    const result = await write(engine, input, options, {
      append: (piece, channel) => {
        text.append(piece, channel);
        if (channel === "final") onText?.(piece);
      },
      measure: (figures) => view.showFigures(figures, options.maxTokens),
    });
    whole = result.finishReason === "stop";
    return result;
  } finally {
    text.end(whole);
  }
}

refs.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  void generate();
});
refs.stop.addEventListener("click", () => writing?.abort.abort());
refs.prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (slot.engine && !writing) refs.composer.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") writing?.abort.abort();
});
refs.examples.addEventListener("click", (event) => {
  if (!(event.target instanceof HTMLButtonElement)) return;
  refs.prompt.value = event.target.textContent;
  refs.prompt.focus();
});
refs.modes.addEventListener("change", () => {
  writing?.abort.abort();
  showMode();
});
refs.newChat.addEventListener("click", () => {
  writing?.abort.abort();
  conversation = [];
  view.clearPage();
  refs.prompt.focus();
});
refs.temperature.addEventListener("input", () => {
  refs.temperatureValue.textContent = refs.temperature.valueAsNumber.toFixed(2);
});

// --- start -----------------------------------------------------------------------------------------------------

showMode();
if (navigator.gpu) {
  void load(builtIn());
} else {
  view.showNoModel();
  view.showNoWebgpu();
  status("This browser offers no WebGPU.");
}

/** The page's elements, and what shows on them. Text goes in as text only. */
import type { Delta, EngineStats, ModelInfo } from "../src/index.ts";
import type { Figures } from "./generate.ts";
import { browserKind, durationInWords, errorInWords, modelFacts, statsInWords, type LoadMeter } from "./words.ts";

function element<T extends HTMLElement>(id: string, type: abstract new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} with the id "${id}".`);
  return found;
}

export const refs = {
  modelName: element("model-name", HTMLElement),
  modelFacts: element("model-facts", HTMLElement),
  toggleSources: element("toggle-sources", HTMLButtonElement),
  sources: element("sources", HTMLElement),
  urlForm: element("url-form", HTMLFormElement),
  modelUrl: element("model-url", HTMLInputElement),
  chooseFolder: element("choose-folder", HTMLButtonElement),
  loadBuiltIn: element("load-built-in", HTMLButtonElement),
  folderInput: element("folder-input", HTMLInputElement),
  progress: element("progress", HTMLProgressElement),
  cancelLoad: element("cancel-load", HTMLButtonElement),
  loadError: element("load-error", HTMLElement),
  noWebgpu: element("no-webgpu", HTMLElement),
  noWebgpuReason: element("no-webgpu-reason", HTMLElement),
  insecure: element("insecure", HTMLElement),
  advice: element("advice", HTMLElement),
  sheet: element("sheet", HTMLElement),
  page: element("page", HTMLElement),
  blank: element("blank", HTMLElement),
  output: element("output", HTMLElement),
  ttft: element("ttft", HTMLElement),
  rate: element("rate", HTMLElement),
  tokens: element("tokens", HTMLElement),
  writeError: element("write-error", HTMLElement),
  reload: element("reload", HTMLButtonElement),
  composer: element("composer", HTMLFormElement),
  promptLabel: element("prompt-label", HTMLElement),
  modes: element("modes", HTMLFieldSetElement),
  newChat: element("new-chat", HTMLButtonElement),
  prompt: element("prompt", HTMLTextAreaElement),
  examples: element("examples", HTMLElement),
  temperature: element("temperature", HTMLInputElement),
  temperatureValue: element("temperature-value", HTMLElement),
  maxTokens: element("max-tokens", HTMLInputElement),
  seed: element("seed", HTMLInputElement),
  seedHint: element("seed-hint", HTMLElement),
  generate: element("generate", HTMLButtonElement),
  stop: element("stop", HTMLButtonElement),
  status: element("status", HTMLElement),
  stats: element("stats", HTMLElement),
  dropVeil: element("drop-veil", HTMLElement),
};

export function showError(box: HTMLElement, error: unknown): void {
  const { title, detail } = errorInWords(error);
  box.querySelector(".notice-title")!.textContent = title;
  box.querySelector(".notice-detail")!.textContent = detail;
  box.hidden = false;
}

export function showSources(open: boolean): void {
  refs.sources.hidden = !open;
  refs.toggleSources.setAttribute("aria-expanded", String(open));
}

export function showLoading(name: string): void {
  refs.modelName.textContent = name;
  refs.modelFacts.textContent = "Opening the model";
  showCancel(true);
  refs.progress.removeAttribute("value");
  refs.stats.replaceChildren();
}

/** Cancel stands where the other models are offered when none is loading. */
function showCancel(loading: boolean): void {
  const focused = document.activeElement === (loading ? refs.toggleSources : refs.cancelLoad);
  refs.cancelLoad.hidden = !loading;
  refs.toggleSources.hidden = loading;
  if (focused) (loading ? refs.cancelLoad : refs.toggleSources).focus();
}

export function showProgress({ fraction, words }: ReturnType<LoadMeter["add"]>): void {
  refs.progress.value = fraction;
  refs.modelFacts.textContent = words;
}

export function showModel(name: string, model: ModelInfo): void {
  refs.modelName.textContent = name;
  refs.modelFacts.textContent = modelFacts(model);
  refs.noWebgpu.hidden = true;
  for (const part of [refs.sheet, refs.composer]) part.hidden = false;
  showCancel(false);
  refs.progress.value = 1;
  refs.maxTokens.max = String(model.contextTokens);
  if (refs.maxTokens.valueAsNumber > model.contextTokens) refs.maxTokens.valueAsNumber = model.contextTokens;
  refs.modes.hidden = !model.chatTemplate;
}

export function showNoModel(): void {
  refs.modelName.textContent = "No model loaded";
  refs.modelFacts.textContent = "";
  showCancel(false);
  refs.progress.value = 0;
  refs.stats.replaceChildren();
}

/** `reason` replaces the general explanation, where the engine knows a better one. */
export function showNoWebgpu(reason?: string): void {
  if (reason) refs.noWebgpuReason.textContent = reason;
  refs.insecure.hidden = window.isSecureContext;
  const kind = browserKind(navigator.userAgent);
  const own = refs.advice.querySelector(`[data-browser="${kind}"]`);
  if (own) {
    own.classList.add("own");
    refs.advice.prepend(own);
  }
  refs.noWebgpu.hidden = false;
  const nothingToLose = refs.prompt.value === "" && !refs.output.hasChildNodes();
  for (const part of [refs.sheet, refs.composer, refs.toggleSources]) part.hidden = nothingToLose;
}

export function showStats(stats: EngineStats, model: ModelInfo, dispatchesPerStep: number | null): void {
  const rows = statsInWords(stats, model, dispatchesPerStep).map(([label, value]) => {
    const row = document.createElement("div");
    row.append(tag("dt", label), tag("dd", value));
    return row;
  });
  refs.stats.replaceChildren(...rows);
}

export function showFigures(figures: Figures, maxTokens: number): void {
  const { firstTokenMs, tokensPerSecond, tokens } = figures;
  refs.ttft.textContent = firstTokenMs === null ? "–" : durationInWords(firstTokenMs);
  refs.rate.textContent = tokensPerSecond === null ? "–" : `${tokensPerSecond.toFixed(1)} tokens/s`;
  refs.tokens.textContent = `${tokens} of ${maxTokens}`;
}

/** Writing turns Generate off and Stop on, and takes the focus along, which a disabled button would lose. */
export function showWriting(writing: boolean, ready: boolean): void {
  const focused = document.activeElement;
  refs.generate.disabled = writing || !ready;
  refs.stop.disabled = !writing;
  if (writing && focused === refs.generate) refs.stop.focus();
  if (!writing && focused === refs.stop) (ready ? refs.generate : refs.prompt).focus();
}

/** The text area's head: what kind of text is asked for. */
export function showMode(chat: boolean, examples: string[]): void {
  refs.promptLabel.textContent = chat ? "Message" : "Beginning";
  refs.newChat.hidden = !chat;
  const items = examples.map((example) => {
    const button = tag("button", example);
    button.type = "button";
    button.className = "example";
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  refs.examples.replaceChildren(...items);
  refs.examples.hidden = examples.length === 0;
}

function tag<K extends keyof HTMLElementTagNameMap>(name: K, text: string): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** A text as it grows: what was given in a muted tone, then runs of what came, one for each change of channel. */
export class Growing {
  readonly root: HTMLElement;
  #run: { channel: Delta["channel"]; node: Text } | null = null;

  private constructor(root: HTMLElement) {
    this.root = root;
    root.classList.add("growing");
    refs.blank.hidden = true;
    refs.output.append(root);
    refs.page.scrollTop = refs.page.scrollHeight;
  }

  /** A text that begins with its prompt. */
  static story(prompt: string): Growing {
    const root = tag("p", "");
    const given = tag("span", prompt);
    given.className = "given";
    root.className = "story";
    root.append(given);
    return new Growing(root);
  }

  /** Adds a message of the person's and an answer to come. */
  static answer(message: string): Growing {
    const said = tag("p", message);
    said.className = "said user";
    refs.output.append(said);
    const root = tag("p", "");
    root.className = "said assistant";
    return new Growing(root);
  }

  append(text: string, channel: Delta["channel"]): void {
    // Someone who scrolled up to read is left there.
    const page = refs.page;
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 48;
    if (this.#run?.channel !== channel) {
      const run = document.createElement("span");
      run.className = channel;
      const node = document.createTextNode("");
      run.append(node);
      this.root.append(run);
      this.#run = { channel, node };
    }
    this.#run.node.appendData(text);
    if (atEnd) page.scrollTop = page.scrollHeight;
  }

  /** `whole`: the model itself came to an end, which earns the closing tile. */
  end(whole: boolean): void {
    this.root.classList.remove("growing");
    this.root.classList.toggle("whole", whole);
  }

  /** Takes an answer back that never began, with its message. */
  withdraw(): void {
    this.root.previousElementSibling?.remove();
    this.root.remove();
    refs.blank.hidden = refs.output.hasChildNodes();
  }
}

export function clearPage(): void {
  refs.output.replaceChildren();
  refs.blank.hidden = false;
}

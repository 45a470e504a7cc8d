/** Small texts that outlive a session, by key: what was measured on this machine, for instance. */
export interface Notes {
  read(key: string): Promise<string | null>;
  write(key: string, text: string): Promise<void>;
}

/** In IndexedDB where there is one (pages and workers), else in a file of the user's cache folder (Node). Calls may fail. */
export function openNotes(): Notes {
  return typeof indexedDB === "undefined" ? fileNotes : databaseNotes;
}

const DATABASE = "tessera";
const STORE = "notes";

const databaseNotes: Notes = {
  read: async (key) => {
    const found: unknown = await inStore("readonly", (store) => store.get(key));
    return typeof found === "string" ? found : null;
  },
  write: async (key, text) => {
    await inStore("readwrite", (store) => store.put(text, key));
  },
};

async function inStore<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await settled(opening);
  try {
    return await settled(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB gave no reason."));
  });
}

const fileNotes: Notes = {
  read: async (key) => (await notesFile()).notes[key] ?? null,
  write: async (key, text) => {
    const { fs, folder, path, notes } = await notesFile();
    await fs.mkdir(folder, { recursive: true });
    // Beside and then in its place, so that nobody ever reads half a file.
    const beside = `${path}.${process.pid}.part`;
    await fs.writeFile(beside, JSON.stringify({ ...notes, [key]: text }));
    await fs.rename(beside, path);
  },
};

/** The file and what is in it; nothing where there is none, or none of ours. */
async function notesFile() {
  const fs = await import(/* @vite-ignore */ "node:fs/promises");
  const paths = await import(/* @vite-ignore */ "node:path");
  const os = await import(/* @vite-ignore */ "node:os");
  const folder = paths.join(process.env["XDG_CACHE_HOME"] || paths.join(os.homedir(), ".cache"), "tessera");
  const path = paths.join(folder, "notes.json");
  const text = await fs.readFile(path, "utf8").catch(() => "{}");
  return { fs, folder, path, notes: parsed(text) };
}

function parsed(text: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(
      Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  } catch {
    return {};
  }
}

import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { faults } from "./faults.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** @param {string} text @param {import("./faults.mjs").Fault} fault @returns {string} @throws where the fault has no place */
export function withFault(text, fault) {
  const places = text.split(fault.find).length - 1;
  if (places !== 1) throw new Error(`fault "${fault.id}": its text is ${places} times in ${fault.file}, not once.`);
  return text.replace(fault.find, () => fault.replace);
}

/** Puts the fault that TESSERA_FAULT names into its file as it is loaded; nothing without it. @returns {import("vite").Plugin[]} */
export function seededFault() {
  const id = process.env["TESSERA_FAULT"];
  if (!id) return [];
  const fault = faults.find((f) => f.id === id);
  if (!fault) throw new Error(`TESSERA_FAULT is ${id}, which is no fault of tests/faults/faults.mjs.`);
  const file = join(root, fault.file).replaceAll("\\", "/");
  return [
    {
      name: "seeded fault",
      enforce: "pre",
      load(module) {
        const [path, query] = module.split("?");
        if (path !== file) return null;
        const text = withFault(readFileSync(file, "utf8"), fault);
        return query === "raw" ? `export default ${JSON.stringify(text)}` : text;
      },
    },
  ];
}

import { chromium, type Browser } from "playwright";
import { browserFlags, findBrowser } from "../../scripts/lib/browser.mjs";

/** A headless Chrome or Chromium with WebGPU, the same as the chromium lane's. Close it in `afterAll`. Node only. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = await findBrowser();
  if (executablePath === undefined) throw new Error("There is no browser; npm test says how to get one.");
  return chromium.launch({ executablePath, args: browserFlags });
}

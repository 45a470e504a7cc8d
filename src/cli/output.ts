/** Writes to stdout; resolves once the system has taken it, so that a slow reader slows us and nothing is lost at exit. */
export function print(text: string): Promise<void> {
  return write(process.stdout, text);
}

/** A line for people, on stderr. */
export function say(line: string): Promise<void> {
  return write(process.stderr, `${line}\n`);
}

function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

const FRAME_MS = 50;

/** One line on a terminal's stderr that is written over; nothing at all where stderr is no terminal. */
export class StatusLine {
  private shownAt = -Infinity;
  private visible = false;

  show(text: string): void {
    const now = performance.now();
    if (!process.stderr.isTTY || now - this.shownAt < FRAME_MS) return;
    this.shownAt = now;
    this.visible = true;
    process.stderr.write(`\r\x1b[2K${text.slice(0, process.stderr.columns - 1)}`);
  }

  clear(): void {
    if (this.visible) process.stderr.write("\r\x1b[2K");
    this.visible = false;
    this.shownAt = -Infinity;
  }
}

/** 1234567 as "1.2 MB". */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** 1234567 as "1,234,567". */
export function formatCount(count: number): string {
  return count.toLocaleString("en-US");
}

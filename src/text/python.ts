/** What chat templates expect of Python's own str and datetime, where JavaScript's differ. */

/** Characters that `str.isspace` knows; JavaScript's trim takes U+FEFF too, and leaves U+001C–001F and U+0085. */
const SPACE = new Set("\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000");
for (let code = 0x2000; code <= 0x200a; code++) SPACE.add(String.fromCharCode(code));

/** `str.strip`, `str.lstrip`, `str.rstrip`: takes any of `characters` (default: white space) off the given ends. */
export function strip(text: string, ends: "both" | "left" | "right", characters?: string): string {
  const set = characters === undefined ? SPACE : new Set(characters);
  let [from, to] = [0, text.length];
  if (ends !== "right") {
    for (let c = next(text, from); from < to && set.has(c); c = next(text, from)) from += c.length;
  }
  if (ends !== "left") {
    for (let c = previous(text, to); from < to && set.has(c); c = previous(text, to)) to -= c.length;
  }
  return text.slice(from, to);
}

/** The whole character at a position, or before it. */
function next(text: string, at: number): string {
  return at < text.length ? String.fromCodePoint(text.codePointAt(at)!) : "";
}
function previous(text: string, at: number): string {
  const pair = at >= 2 ? next(text, at - 2) : "";
  return pair.length === 2 ? pair : text.slice(Math.max(0, at - 1), at);
}

const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** `datetime.strftime` in the C locale, local time. Directives it does not know stay as they are; `%-d` pads nothing. */
export function strftime(date: Date, format: string): string {
  const pad = (n: number, width = 2) => String(n).padStart(width, "0");
  const [month, day] = [MONTHS[date.getMonth()]!, DAYS[date.getDay()]!];
  const firstDay = Date.UTC(date.getFullYear(), 0, 0);
  const dayOfYear = (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - firstDay) / 86_400_000;
  const directives: Record<string, string> = {
    Y: String(date.getFullYear()),
    y: pad(date.getFullYear() % 100),
    m: pad(date.getMonth() + 1),
    d: pad(date.getDate()),
    j: pad(dayOfYear, 3),
    H: pad(date.getHours()),
    I: pad(date.getHours() % 12 || 12),
    M: pad(date.getMinutes()),
    S: pad(date.getSeconds()),
    p: date.getHours() < 12 ? "AM" : "PM",
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    "%": "%",
  };
  return format.replace(/%(-?)([A-Za-z%])/g, (all, minus: string, letter: string) => {
    const text = directives[letter];
    if (text === undefined) return all;
    return minus ? text.replace(/^0+(?=\d)/, "") : text;
  });
}

/** Completion inside a label selector such as `region="eu", env=~"prod.*"`. */

/** What the text before the caret is asking for. `from` is where the completed word begins. */
export type Completion =
  | { kind: 'name'; prefix: string; from: number }
  | { kind: 'value'; name: string; prefix: string; from: number }
  | { kind: 'none' };

const NAME_AT_END = /(?:^|,)\s*([A-Za-z_][\w.]*)?$/;
const VALUE_AT_END = /([A-Za-z_][\w.]*)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)$/;
const CLOSED_STRING = /"(?:[^"\\]|\\.)*"/g;

/** Looks at the text left of the caret. */
export function completionAt(text: string, caret: number): Completion {
  const before = text.slice(0, caret);
  const value = VALUE_AT_END.exec(maskClosedStrings(before));
  if (value !== null) {
    const prefix = before.slice(caret - value[2].length);
    return { kind: 'value', name: value[1], prefix, from: caret - prefix.length };
  }
  const name = NAME_AT_END.exec(maskClosedStrings(before));
  if (name === null) return { kind: 'none' };
  const prefix = name[1] ?? '';
  return { kind: 'name', prefix, from: caret - prefix.length };
}

/** Puts a chosen name or value in place; returns the new text and caret. */
export function applyCompletion(
  text: string,
  caret: number,
  completion: Exclude<Completion, { kind: 'none' }>,
  choice: string,
): { text: string; caret: number } {
  const head = text.slice(0, completion.from);
  const tail = text.slice(caret);
  if (completion.kind === 'name') return join(`${head}${choice}="`, tail);
  const quoted = JSON.stringify(choice).slice(1, -1);
  return join(`${head}${quoted}"`, tail.replace(/^(?:[^"\\,]|\\.)*"?/, ''));
}

/** Options that contain the typed text; those that begin with it come first. */
export function rankOptions(options: readonly string[], typed: string): string[] {
  const needle = typed.toLowerCase();
  const found = options.filter((option) => option.toLowerCase().includes(needle));
  const begins = (option: string) => (option.toLowerCase().startsWith(needle) ? 0 : 1);
  return found.sort((a, b) => begins(a) - begins(b) || (a < b ? -1 : a > b ? 1 : 0));
}

function join(head: string, tail: string): { text: string; caret: number } {
  return { text: head + tail, caret: head.length };
}

/** Same length, but the content of finished strings cannot be mistaken for syntax. */
function maskClosedStrings(text: string): string {
  return text.replace(CLOSED_STRING, (string) => `"${'x'.repeat(string.length - 2)}"`);
}

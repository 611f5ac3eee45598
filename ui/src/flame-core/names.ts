/**
 * Parts of function names as compilers and runtimes write them.
 *
 * What stands in matching brackets (type arguments, parameters, receivers) holds separators that do not
 * separate anything, so names are taken apart by their outline, in which such parts are masked.
 */

const MASK = '\u0001';
const MASKED_FROM_START = new RegExp(`^${MASK}+(?=::)`);
const MASKED_TO_END = new RegExp(`${MASK}+$`);
const LINE_NUMBER = /:\d+$/;
const CLOSERS: Record<string, string> = { '<': '>', '(': ')', '[': ']' };

/** The name with everything in matching brackets masked, brackets included; as long as the name. */
function outlineOf(name: string): string {
  if (!/[<([]/.test(name)) return name;
  const open: number[] = [];
  const outline = [...name.split('')];
  for (let i = 0; i < name.length; i++) {
    const character = name[i];
    if (character in CLOSERS) open.push(i);
    else if (character === '>' && /[-=]/.test(name[i - 1] ?? '')) continue;
    else if (open.length > 0 && character === CLOSERS[name[open[open.length - 1]]]) outline.fill(MASK, open.pop(), i + 1);
  }
  return outline.join('');
}

/**
 * The package, module or crate a function seems to belong to, guessed from its name alone.
 *
 * Go `github.com/a/b.(*T).F` gives `github.com/a/b`; Java `com.acme.shop.Cart.add` gives `com.acme`;
 * Rust and C++ `tokio::runtime::run` gives `tokio`, as does `<tokio::Task as Future>::poll`; a path
 * `lib/x.py:f:12` gives `lib/x.py`.
 */
export function packageOf(name: string): string {
  const outline = outlineOf(name);
  const implementation = MASKED_FROM_START.exec(outline);
  if (implementation !== null) return packageOf(name.slice(1, implementation[0].length - 1).replace(/^[<&*\s]+|^(?:mut|dyn) /g, ''));
  const colons = outline.indexOf('::');
  if (colons > 0) return name.slice(0, colons).replace(/^[<&*\s]+/, '');
  const slash = outline.lastIndexOf('/');
  if (slash >= 0) {
    const tail = outline.slice(slash);
    const stop = tail.indexOf(tail.includes(':') ? ':' : '.');
    return stop < 0 ? name : name.slice(0, slash + stop);
  }
  const parts = outline.split(/[.:\u0001 ]/);
  if (parts.length > 3 && !outline.includes(MASK)) return `${parts[0]}.${parts[1]}`;
  return parts[0] || name;
}

/** The part of a name that tells it from its neighbours: type and function, without path, modules or implementation. */
export function nameTail(name: string): string {
  const outline = outlineOf(name);
  const slash = outline.lastIndexOf('/');
  if (slash >= 0 && slash + 1 < name.length) return name.slice(slash + 1);
  const separator = outline.includes('::') ? '::' : '.';
  const parts = outline.split(separator);
  const isMethod = MASKED_FROM_START.test(outline) && parts.length === 2;
  if (!isMethod && (parts.length <= 2 || (separator === '.' && outline.includes('(')))) return name;
  let kept = isMethod ? 1 : 2;
  while (kept < parts.length && parts[parts.length - kept].startsWith('{')) kept++;
  return name.slice(-parts.slice(-kept).join(separator).length);
}

/** The last segment of a qualified name: what to show when the whole name does not fit. */
export function shortName(name: string): string {
  let outline = outlineOf(name);
  const bare = outline.replace(MASKED_TO_END, '').replace(LINE_NUMBER, '');
  if (/[^:./]$/.test(bare)) outline = bare;
  const slash = outline.lastIndexOf('/') + 1;
  const tail = outline.slice(slash);
  const begin = slash + (tail.includes('::') ? afterModules(tail) : afterPath(tail));
  return name.slice(begin, outline.length) || name;
}

/** Where the last segment behind `::` begins; closures take their function along. */
function afterModules(text: string): number {
  let at = text.length;
  for (;;) {
    const colons = text.lastIndexOf('::', at - 1);
    if (colons < 0) return 0;
    at = colons;
    if (colons + 2 < text.length && text[colons + 2] !== '{') return colons + 2;
  }
}

/** Where the function begins in `file:function:line` or `package.function`. */
function afterPath(text: string): number {
  const colon = text.lastIndexOf(':');
  if (colon >= 0 && colon + 1 < text.length) return colon + 1;
  const dot = text.lastIndexOf('.');
  return dot > 0 && dot + 1 < text.length ? dot + 1 : 0;
}

/** Marks for the browser's performance tools; the last of each name is kept. */
export function markTime(name: 'argand-flame-received' | 'argand-flame-ready' | 'argand-flame-painted'): void {
  performance.clearMarks(name);
  performance.mark(name);
}

/** Draws the visible part of a tree on a Canvas 2D context. Cost depends on pixels, not on nodes. */
import type { Palette } from './colour.ts';
import { startOf } from './layout.ts';
import { Ink, MIN_LABEL_WIDTH, rasterLevel, WideBars, type PixelPalette } from './raster.ts';
import { ROW_HEIGHT, topOf, visibleLevels, type Scene } from './scene.ts';
import { NONE } from './tree.ts';

const LABEL_PADDING = 5;

/** Paints scenes on one canvas; keeps the memory that frames share. */
export class Painter {
  private readonly wide = new WideBars();
  private readonly strip: CanvasRenderingContext2D;
  private image: ImageData | null = null;
  private pixels = new Uint32Array();
  private palette: Palette | null = null;
  private colours: PixelPalette | null = null;

  constructor(private readonly context: CanvasRenderingContext2D) {
    // Written by the processor in every frame, so it is best kept where the processor can reach it.
    this.strip = contextOf(document.createElement('canvas'), { willReadFrequently: true });
  }

  /** Paints a scene; returns how many bars and merged pixels that took. */
  draw(scene: Scene): number {
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = scene.palette.background;
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    const { first, last } = visibleLevels(scene);
    this.wide.count = 0;
    const painted = last < first ? 0 : this.drawBars(scene, first, last);
    context.setTransform(scene.pixelRatio, 0, 0, scene.pixelRatio, 0, 0);
    if (scene.palette.outlined) this.drawOutlines(scene);
    drawHover(context, scene);
    this.drawLabels(scene);
    drawFocus(context, scene);
    if (scene.brush !== null) drawBrush(context, scene, scene.brush);
    return painted;
  }

  /** Paints a line of pixels per level, then stretches all lines to the height of their levels at once. */
  private drawBars(scene: Scene, first: number, last: number): number {
    const width = Math.max(1, Math.round(scene.width * scene.pixelRatio));
    const lines = last - first + 1;
    const colours = this.pixelPalette(scene.palette);
    const image = this.strips(width, lines);
    let painted = 0;
    for (let level = first; level <= last; level++) {
      const line = scene.orientation === 'icicle' ? level - first : last - level;
      painted += rasterLevel(scene, colours, level, this.pixels.subarray(line * width, (line + 1) * width), this.wide);
    }
    this.strip.putImageData(image, 0, 0, 0, 0, width, lines);
    const { context } = this;
    const top = topOf(scene, scene.orientation === 'icicle' ? first : last);
    const edge = (y: number) => Math.round(y * scene.pixelRatio);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.strip.canvas, 0, 0, width, lines, 0, edge(top), width, edge(top + lines * ROW_HEIGHT) - edge(top));
    context.fillStyle = scene.palette.background;
    for (let line = 1; line <= lines; line++) {
      const y = edge(top + line * ROW_HEIGHT - 1);
      context.fillRect(0, y, width, edge(top + line * ROW_HEIGHT) - y);
    }
    return painted;
  }

  private strips(width: number, lines: number): ImageData {
    if (this.image === null || this.image.width !== width || this.image.height < lines) {
      this.image = new ImageData(width, Math.ceil(lines / 32) * 32);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.strip.canvas.width = width;
      this.strip.canvas.height = this.image.height;
    }
    return this.image;
  }

  private drawLabels(scene: Scene): void {
    const { context, wide } = this;
    const { palette, pixelRatio } = scene;
    const inks = [palette.text, palette.neutralText, palette.dimmedText, palette.selectedText];
    context.font = scene.font;
    context.textBaseline = 'middle';
    for (let i = 0; i < wide.count; i++) {
      const left = Math.max(0, wide.left[i] / pixelRatio) + LABEL_PADDING;
      const right = Math.min(scene.width, wide.right[i] / pixelRatio) - LABEL_PADDING + 1;
      if (right - left < MIN_LABEL_WIDTH - 2 * LABEL_PADDING) continue;
      const text = scene.labels.fit(scene.flame.nameIndex[wide.node[i]], Math.floor((right - left) / scene.glyphWidth));
      if (text === '') continue;
      context.fillStyle = inks[wide.ink[i]];
      context.fillText(text, left, topOf(scene, wide.level[i]) + ROW_HEIGHT / 2);
    }
  }

  private drawOutlines(scene: Scene): void {
    const { context, wide } = this;
    for (let i = 0; i < wide.count; i++) {
      const left = wide.left[i] / scene.pixelRatio;
      const width = wide.right[i] / scene.pixelRatio - left;
      context.strokeStyle = wide.ink[i] === Ink.dimmed ? scene.palette.dimmedText : scene.palette.text;
      context.strokeRect(left + 0.5, topOf(scene, wide.level[i]) + 0.5, width - 1, ROW_HEIGHT - 2);
    }
  }

  private pixelPalette(palette: Palette): PixelPalette {
    if (this.colours === null || this.palette !== palette) {
      this.palette = palette;
      this.colours = resolvePalette(palette);
    }
    return this.colours;
  }
}

function drawHover(context: CanvasRenderingContext2D, scene: Scene): void {
  const { flame, hover, palette, range } = scene;
  if (hover === NONE || hover >= flame.nodeCount) return;
  const scale = scene.width / (range.to - range.from);
  const start = startOf(flame, hover);
  const left = Math.max(0, (start - range.from) * scale);
  const right = Math.min(scene.width, (start + flame.total[hover] - range.from) * scale);
  context.fillStyle = palette.hover;
  context.fillRect(left, topOf(scene, flame.level[hover]), Math.max(1, right - left - 1), ROW_HEIGHT - 1);
}

function drawFocus(context: CanvasRenderingContext2D, scene: Scene): void {
  const { flame, range, focus, palette } = scene;
  if (focus === NONE || focus >= flame.nodeCount) return;
  const scale = scene.width / (range.to - range.from);
  const start = startOf(flame, focus);
  const left = Math.max(0, (start - range.from) * scale);
  const right = Math.min(scene.width, (start + flame.total[focus] - range.from) * scale);
  const y = topOf(scene, flame.level[focus]);
  if (right < 0 || left > scene.width || y > scene.height || y < -ROW_HEIGHT) return;
  const width = Math.max(4, right - left - 1);
  context.lineWidth = 4;
  context.strokeStyle = palette.focusHalo;
  context.strokeRect(left + 1, y + 1, width - 2, ROW_HEIGHT - 3);
  context.lineWidth = 2;
  context.strokeStyle = palette.focus;
  context.strokeRect(left + 1, y + 1, width - 2, ROW_HEIGHT - 3);
  context.lineWidth = 1;
}

/** Veils what the brush leaves out. */
function drawBrush(context: CanvasRenderingContext2D, scene: Scene, { left, right }: { left: number; right: number }): void {
  context.globalAlpha = 0.6;
  context.fillStyle = scene.palette.background;
  context.fillRect(0, 0, left, scene.height);
  context.fillRect(right, 0, scene.width - right, scene.height);
  context.globalAlpha = 1;
  context.fillStyle = scene.palette.focus;
  context.fillRect(left - 1, 0, 1, scene.height);
  context.fillRect(right, 0, 1, scene.height);
}

/** Colours as pixels. What is not written as `#rrggbb`, such as system colours, is painted and read back. */
function resolvePalette(palette: Palette): PixelPalette {
  const probe = contextOf(Object.assign(document.createElement('canvas'), { width: 1, height: 1 }), {
    willReadFrequently: true,
  });
  const pixel = (colour: string): number => {
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer)[0];
  };
  return {
    bars: Uint32Array.from(palette.bars, pixel),
    neutral: pixel(palette.neutral),
    merged: pixel(palette.merged),
    mergedMatch: pixel(palette.mergedMatch),
    dimmed: pixel(palette.dimmed),
    selected: pixel(palette.selected),
    background: pixel(palette.background),
  };
}

/** The 2D context of a canvas. Throws if the browser has none. */
export function contextOf(canvas: HTMLCanvasElement, options: CanvasRenderingContext2DSettings): CanvasRenderingContext2D {
  const context = canvas.getContext('2d', options);
  if (context === null) throw new Error('this browser has no 2D canvas');
  return context;
}

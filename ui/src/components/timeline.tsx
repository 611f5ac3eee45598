/** The profile type's value over time. Dragging selects a time range. uPlot is loaded when first needed. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type uPlot from 'uplot';
import type { Timeline as TimelineData } from '../api/client.ts';
import { formatValue, tickSteps } from '../format/units.ts';
import { columns, withGaps } from '../state/buckets.ts';
import { state, timelineState, unit, update } from '../state/store.ts';
import { theme } from '../state/theme.ts';
import { ErrorNote } from './notes.tsx';

/** Bucket under the pointer: epoch seconds of its end, and its value. */
const hovered = signal<{ time: number; value: number } | null>(null);

const HEIGHT = 108;

export function Timeline(): JSX.Element {
  const { value, error, loading } = timelineState.value;
  return (
    <section class="timeline panel" aria-label="Timeline">
      {error !== null ? (
        <ErrorNote error={error} />
      ) : (
        <>
          <TimelineReadout data={value} />
          <div class={loading ? 'chart-area stale' : 'chart-area'}>{value !== null && value.end > value.start && <Chart data={value} />}</div>
        </>
      )}
    </section>
  );
}

function TimelineReadout({ data }: { data: TimelineData | null }): JSX.Element {
  const bucket = hovered.value;
  return (
    <p class="timeline-readout" aria-hidden="true">
      {bucket === null ? (
        data !== null && data.step > 0 && <span class="muted">{describeStep(data.step)} buckets · drag to select a time range</span>
      ) : (
        <>
          <span class="muted">{new Date(bucket.time * 1000).toLocaleTimeString(undefined, { hourCycle: 'h23' })}</span>{' '}
          <strong>{formatValue(bucket.value, unit.value)}</strong>
        </>
      )}
    </p>
  );
}

function Chart({ data }: { data: TimelineData }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const valueUnit = unit.value;
  const colours = theme.value;

  useEffect(() => {
    const element = host.current!;
    let chart: uPlot | null = null;
    let gone = false;
    const resize = new ResizeObserver(() => chart?.setSize({ width: element.clientWidth, height: HEIGHT }));
    void Promise.all([import('uplot'), import('uplot/dist/uPlot.min.css')]).then(([{ default: Plot }]) => {
      if (gone) return;
      // Formatting dates for the first time takes longer than anything else here; the flame graph goes first.
      element.setAttribute('aria-label', summary(data, valueUnit));
      chart = new Plot(chartOptions(Plot, element, data, valueUnit), withGaps(columns(data), data.step / 1000), element);
      resize.observe(element);
    });
    return () => {
      gone = true;
      resize.disconnect();
      chart?.destroy();
      hovered.value = null;
    };
  }, [data, valueUnit, colours]);

  return <div class="chart" ref={host} role="img" aria-label="Value over time" />;
}

function chartOptions(Plot: typeof uPlot, element: HTMLElement, data: TimelineData, valueUnit: string): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: colour('--text-muted'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: colour('--line-faint'), width: 1 },
    ticks: { show: false },
  };
  const empty = data.series.every((series) => series.points.length === 0);
  const valueLabels = (_: uPlot, ticks: number[]) =>
    ticks.map((tick) => (tick === 0 ? '0' : empty ? '' : formatValue(tick, valueUnit)));
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 12, 0, 0],
    scales: { x: { range: () => [data.start / 1000, data.end / 1000] }, y: { range: (_, _min, max) => [0, max * 1.08 || 1] } },
    axes: [
      { ...axis, size: 24, gap: 4, space: 70, values: timeLabels },
      { ...axis, size: 62, gap: 6, space: 28, incrs: tickSteps(valueUnit), values: valueLabels },
    ],
    series: [
      {},
      {
        fill: colour('--series'),
        stroke: colour('--series'),
        width: 0,
        points: { show: false },
        paths: Plot.paths.bars!({ size: [0.86, 40, 1], align: -1, gap: 0 }),
      },
    ],
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    hooks: {
      setCursor: [(chart) => (hovered.value = bucketAt(chart))],
      setSelect: [(chart) => selectRange(chart)],
    },
  };
}

function bucketAt(chart: uPlot): { time: number; value: number } | null {
  const index = chart.cursor.idx;
  if (index === null || index === undefined) return null;
  const value = chart.data[1][index];
  return value === null || value === undefined ? null : { time: chart.data[0][index], value };
}

function selectRange(chart: uPlot): void {
  const { left, width } = chart.select;
  if (width < 4) return;
  const from = Math.round(chart.posToVal(left, 'x') * 1000);
  const to = Math.round(chart.posToVal(left + width, 'x') * 1000);
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  update({ from: String(from), to: String(Math.max(to, from + 1000)) });
}

/** Hours and minutes; seconds only when ticks are that close, dates when they are days apart. */
function timeLabels(_chart: uPlot, ticks: number[]): string[] {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 60;
  const options: Intl.DateTimeFormatOptions =
    step >= 86_400
      ? { month: 'short', day: 'numeric' }
      : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(step < 60 ? { second: '2-digit' } : {}) };
  return ticks.map((tick) => new Date(tick * 1000).toLocaleString(undefined, options));
}

function describeStep(ms: number): string {
  return formatValue(ms * 1e6, 'nanoseconds');
}

function summary(data: TimelineData, valueUnit: string): string {
  const [times, values] = columns(data);
  const range = `${new Date(data.start).toLocaleString()} to ${new Date(data.end).toLocaleString()}`;
  if (times.length === 0) return `${state.peek().service}, ${range}: no data`;
  let highest = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[highest]) highest = i;
  const peak = `highest ${formatValue(values[highest], valueUnit)} at ${new Date(times[highest] * 1000).toLocaleTimeString()}`;
  return `Value over time, ${range}: ${times.length} buckets, ${peak}. Use the time range picker to choose a range.`;
}

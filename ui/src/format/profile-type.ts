/** Profile type ids `name:sample_type:sample_unit:period_type:period_unit`. */

/** The parts of an id that people care about. */
export interface ProfileType {
  name: string;
  sampleType: string;
  sampleUnit: string;
}

/** Splits an id; missing parts are empty. */
export function parseProfileType(id: string): ProfileType {
  const [name = '', sampleType = '', sampleUnit = ''] = id.split(':');
  return { name, sampleType, sampleUnit };
}

/** How an id reads in the page: `process_cpu - cpu`. */
export function profileTypeLabel(id: string): string {
  const { name, sampleType } = parseProfileType(id);
  return sampleType === '' ? name : `${name} - ${sampleType}`;
}

/** The type to show first: CPU time, then anything measured in time, then the first. */
export function preferredType(ids: readonly string[]): string {
  return (
    ids.find((id) => id.startsWith('process_cpu:cpu:')) ??
    ids.find((id) => id.startsWith('process_cpu:')) ??
    ids.find((id) => parseProfileType(id).sampleUnit === 'nanoseconds') ??
    ids[0] ??
    ''
  );
}

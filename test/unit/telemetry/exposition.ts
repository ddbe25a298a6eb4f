/** A strict reader of Prometheus text format 0.0.4, written from its description, that throws on anything else. */
export interface ExposedFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: ExposedSample[];
}

export interface ExposedSample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

const SUFFIXES: Readonly<Record<string, readonly string[]>> = { histogram: ['_bucket', '_sum', '_count'] };

export function parseExposition(text: string): Map<string, ExposedFamily> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line must end in a line feed');
  const families = new Map<string, ExposedFamily>();
  const seen = new Set<string>();
  let current = '';
  let help: [string, string] | null = null;
  for (const line of text.split('\n').slice(0, -1)) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string];
      if (kind === 'HELP') {
        help = [name, rest];
        continue;
      }
      if (help === null || help[0] !== name) throw new Error(`TYPE without HELP before: ${line}`);
      if (!['counter', 'gauge', 'histogram'].includes(rest)) throw new Error(`type: ${line}`);
      if (families.has(name)) throw new Error(`family twice: ${name}`);
      families.set(name, { type: rest, help: help[1], samples: [] });
      current = name;
      continue;
    }
    const sample = parseSample(line);
    const family = families.get(current);
    const names = SUFFIXES[family?.type ?? '']?.map((suffix) => current + suffix) ?? [current];
    if (family === undefined || !names.includes(sample.name)) throw new Error(`sample outside its family: ${line}`);
    const key = line.slice(0, line.lastIndexOf(' '));
    if (seen.has(key)) throw new Error(`sample twice: ${key}`);
    seen.add(key);
    family.samples.push(sample);
  }
  return families;
}

function parseSample(line: string): ExposedSample {
  const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0];
  if (name === undefined) throw new Error(`no name: ${line}`);
  const labels = new Map<string, string>();
  let at = name.length;
  if (line[at] === '{') {
    at++;
    while (line[at] !== '}') {
      const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,(?!\})|(?=\}))/.exec(line.slice(at));
      if (pair === null) throw new Error(`label: ${line.slice(at)}`);
      const [whole, key, raw] = pair as unknown as [string, string, string];
      if (labels.has(key)) throw new Error(`label twice: ${key}`);
      labels.set(
        key,
        raw.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped)),
      );
      at += whole.length;
    }
    at++;
  }
  const value = /^ ([+-]?Inf|NaN|[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/.exec(line.slice(at))?.[1];
  if (value === undefined) throw new Error(`value: ${line}`);
  return { name, labels, value: value.endsWith('Inf') ? Number(`${value}inity`) : Number(value) };
}

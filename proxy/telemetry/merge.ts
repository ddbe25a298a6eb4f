/**
 * Two expositions as one, in Prometheus text format 0.0.4: what the application says is read line by line and written again, so
 * that the whole is valid whatever it said. A family stands in one piece with one HELP and one TYPE; where both have it, or
 * the application repeats a series, the first one stays.
 */
const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const COMMENT = new RegExp(`^#[ \\t]+(HELP|TYPE)[ \\t]+(${NAME})(?:[ \\t]+(.*))?$`);
const LABELS = '\\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\.)*",?)*\\}';
const NUMBER = '[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[Ii]nf|NaN';
const SAMPLE = new RegExp(`^((${NAME})(?:[ \\t]*${LABELS})?)[ \\t]+(?:${NUMBER})(?:[ \\t]+-?[0-9]+)?[ \\t]*$`);
const TYPES = new Set(['counter', 'gauge', 'histogram', 'summary', 'untyped']);
const SUFFIX = /_(?:bucket|sum|count)$/;

interface Family {
  help: string | null;
  type: string | null;
  readonly samples: string[];
}

/** `own` as it is, then the families of `others` that it has not. */
export function mergeExpositions(own: string, others: string): string {
  const families = readFamilies(others);
  for (const name of namesOf(own)) families.delete(name);
  const out = [own];
  for (const [name, { help, type, samples }] of families) {
    if (samples.length === 0) continue;
    if (help !== null) out.push(`# HELP ${name} ${help}\n`);
    if (type !== null) out.push(`# TYPE ${name} ${type}\n`);
    for (const sample of samples) out.push(`${sample}\n`);
  }
  return out.join('');
}

/** In the order of their first line; lines that are none of the format are left out. */
function readFamilies(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  const familyOf = (name: string): Family => {
    const known = families.get(name);
    if (known !== undefined) return known;
    const family: Family = { help: null, type: null, samples: [] };
    families.set(name, family);
    return family;
  };
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    const comment = COMMENT.exec(line);
    if (comment !== null) {
      const [, keyword, name, rest = ''] = comment as unknown as [string, string, string, string?];
      const family = familyOf(name);
      if (keyword === 'HELP') family.help ??= rest;
      else if (TYPES.has(rest)) family.type ??= rest;
      continue;
    }
    const [, series, name] = SAMPLE.exec(line) ?? [];
    if (series === undefined || name === undefined || seen.has(series)) continue;
    seen.add(series);
    familyOf(ownerOf(name, families)).samples.push(line);
  }
  return families;
}

/** The series of a histogram or summary carry suffixes; anything else is a family of its own. */
function ownerOf(name: string, families: ReadonlyMap<string, Family>): string {
  const stem = name.replace(SUFFIX, '');
  const type = families.get(stem)?.type;
  return stem !== name && (type === 'histogram' || type === 'summary') ? stem : name;
}

function namesOf(text: string): string[] {
  return [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name as string);
}

/**
 * Matches that no request can fit. Of expressions that is told only where it is certain: by the characters that they demand
 * outside of groups and classes. A path is compared whole and without query, begins with "/" and has been normalised
 * (http/path).
 */
import type { Problem } from '../../shared/problem.ts';
import type { Catalog } from '../config/compile/catalog.ts';
import type { Path } from '../config/place.ts';
import { UNRESERVED } from '../http/chars.ts';
import { EXPRESSION } from '../policy/expression.ts';

export function lintMatches({ routes, pathNormalization }: Catalog): Problem[] {
  const normalized = pathNormalization !== 'NONE';
  return routes.flatMap((route) =>
    route.value.spec.rules.flatMap(({ matches }, i) =>
      matches.flatMap(({ path, method }, j) => {
        const faults: readonly [field: Path, fault: Fault | null][] = [
          [['path', 'value'], path.type === EXPRESSION ? faultOf(demandedText(path.value), normalized) : null],
          [['method'], method === 'CONNECT' ? CONNECTS : null],
        ];
        return faults.flatMap(([field, fault]) => {
          if (fault === null) return [];
          const at = ['spec', 'rules', i, 'matches', j, ...field];
          return [route.place.problem(at, `can never match: ${fault[0]}`, fault[1], { severity: 'warning' })];
        });
      }),
    ),
  );
}

type Fault = readonly [reason: string, advice: string];

const CONNECTS: Fault = [
  'CONNECT opens a tunnel, whose bytes are routed as those of any connection',
  'TLSRoute or TCPRoute',
];

/** Why no path holds the text, and what to write instead; null if one may. */
function faultOf(demanded: string, normalized: boolean): Fault | null {
  const [first = UNKNOWN] = demanded;
  // The path of `OPTIONS *` is the star.
  if (first !== UNKNOWN && first !== '/' && first !== '*') {
    return [`the path is compared whole, and none begins with "${first}"`, 'begin with "/" or ".*"'];
  }
  if (demanded.includes('?')) return ['paths are compared without their query', 'queryParams'];
  if (demanded.includes('#')) return ['no path holds "#"', ''];
  const escapes = normalized ? (demanded.match(/%[0-9a-f]{2}/gi) ?? []) : [];
  for (const escape of escapes) {
    const byte = Number.parseInt(escape.slice(1), 16);
    if (UNRESERVED[byte] === 1) return [`no path holds "${escape}" after normalisation`, String.fromCharCode(byte)];
  }
  return null;
}

/** Stands for nothing, one character or many. No text of a match may hold it. */
const UNKNOWN = '\0';

/** One step of an expression (RE2): an escape, a class, the beginning of a group without flags, any other character. */
const STEP = /\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\((?!\?)|\(\?(?::|P?<\w+>)|[^([\\]/sy;
const REPEAT = /(?:[*+?]|\{\d+(?:,\d*)?\})\??/y;

/** What every text that matches holds, in this order; UNKNOWN alone where the expression is beyond this reader. */
function demandedText(expression: string): string {
  let demanded = '';
  let depth = 0;
  let at = 0;
  while (at < expression.length) {
    const step = matchAt(STEP, expression, at);
    at += step.length;
    if (step.startsWith('(')) depth++;
    else if (step === ')') depth--;
    if (step === '' || (step === '|' && depth === 0)) return UNKNOWN;
    if (depth > 0) continue;
    const character = demandedBy(step);
    if (character === null) return UNKNOWN;
    const repeat = matchAt(REPEAT, expression, at);
    at += repeat.length;
    demanded += repeat === '' ? character : repeat.startsWith('+') ? character + UNKNOWN : UNKNOWN;
  }
  return demanded;
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}

/** The one character that fits, UNKNOWN for several, nothing for a position; null for escapes that are not looked into. */
function demandedBy(step: string): string | null {
  if (step === '^' || step === '$') return '';
  if (step === '.' || step === ')' || step.startsWith('[')) return UNKNOWN;
  if (!step.startsWith('\\')) return step;
  if (/^\\[bBAz]/.test(step)) return '';
  if (/^\\[dDsSwW]/.test(step)) return UNKNOWN;
  return /^\\[^A-Za-z0-9]/.test(step) ? step.slice(1) : null;
}

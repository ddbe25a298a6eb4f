/** From zod's issues to sentences an operator can act on. */
import type { z } from 'zod';
import { nearest, suggest } from './near.ts';
import { formatPath, type Path, type PointAt } from './place.ts';

export interface Complaint {
  readonly path: Path;
  readonly message: string;
  readonly advice: string;
  readonly at: PointAt;
}

/** One sentence, for where there is no line to point at: `spec.ports[0].port: must be at most 65535`. */
export function formatComplaint({ path, message, advice }: Complaint): string {
  return `${formatPath(path)}: ${message}${advice === '' ? '' : ` (${advice})`}`;
}

/** What is wrong with `value`, in the order of the schema; an unknown field is one complaint each. */
export function complaintsOf(issues: readonly z.core.$ZodIssue[], value: unknown): Complaint[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') return unknownFields(issue);
    const { path } = issue;
    const found = valueAt(value, path);
    // Whatever else a check would say of an absent field, it is absent.
    if (found === undefined && issue.code !== 'custom')
      return [{ path, message: 'is required', advice: requiredForm(issue), at: 'value' }];
    return [{ path, ...wording(issue, found), at: 'value' }];
  });
}

function unknownFields(issue: z.core.$ZodIssueUnrecognizedKeys): Complaint[] {
  const accepted = issue.message.split(' ');
  return issue.keys.map((key) => {
    const near = nearest(key, accepted);
    const advice = near === null ? `known here: ${accepted.join(', ')}` : `did you mean ${near}?`;
    return { path: [...issue.path, key], message: 'unknown field', advice, at: 'key' };
  });
}

function requiredForm(issue: z.core.$ZodIssue): string {
  const words =
    issue.code === 'invalid_value' ? issue.values : issue.code === 'invalid_union' ? discriminators(issue) : [];
  return words.length < 2 ? '' : `one of ${words.join(', ')}`;
}

/** The values that choose a branch of a discriminated union; empty for another union. */
function discriminators(issue: z.core.$ZodIssueInvalidUnion): string[] {
  return 'options' in issue ? (issue.options ?? []).map(String) : [];
}

function wording(issue: z.core.$ZodIssue, found: unknown): { message: string; advice: string } {
  switch (issue.code) {
    case 'custom':
      return { message: issue.message, advice: String(issue.params?.['advice'] ?? '') };
    case 'invalid_type':
      return wrongType(issue, found);
    case 'invalid_value':
      return wrongWord(issue.values.map(String), found, issue.message);
    case 'invalid_union':
      if (discriminators(issue).length > 0) return wrongWord(discriminators(issue), found, '');
      return { message: issue.message, advice: `not ${describe(found)}` };
    case 'too_small':
    case 'too_big':
      return { message: outOfBounds(issue), advice: '' };
    default:
      return { message: issue.message, advice: '' };
  }
}

function wrongType(issue: z.core.$ZodIssueInvalidType, found: unknown): { message: string; advice: string } {
  // The one use of `never` is a field that is known but refused; its message says so.
  if (issue.expected === 'never') return { message: issue.message, advice: '' };
  if (issue.expected === 'int') return { message: `must be a whole number, not ${String(found)}`, advice: '' };
  const expected = TYPE_NAMES[issue.expected] ?? `a ${issue.expected}`;
  const quote = issue.expected === 'string' && (typeof found === 'number' || typeof found === 'boolean');
  // Not what to quote: 1.10 is found as 1.1, 010 as 10 and True as true, and what is quoted must be what was written.
  return { message: `must be ${expected}, not ${describe(found)}`, advice: quote ? 'in quotes' : '' };
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: 'a map of fields',
  record: 'a map of fields',
  array: 'a list',
  string: 'text',
  boolean: 'true or false',
};

/** A literal's own message, where the schema gave one, says more than the list of one. */
function wrongWord(words: readonly string[], found: unknown, message: string): { message: string; advice: string } {
  if (words.length === 1 && message.startsWith('must ')) return { message, advice: '' };
  const written = typeof found === 'string' ? `"${found}"` : describe(found);
  const advice = typeof found === 'string' ? suggest(found, words) : `one of ${words.join(', ')}`;
  return { message: `is ${written}, which is not known here`, advice };
}

function outOfBounds(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const low = issue.code === 'too_small';
  const bound = Number(issue.code === 'too_small' ? issue.minimum : issue.maximum);
  if (issue.origin === 'array')
    return `must have at ${low ? 'least' : 'most'} ${bound} ${bound === 1 ? 'entry' : 'entries'}`;
  if (issue.origin === 'string' && bound === 1 && low) return 'must not be empty';
  if (issue.origin === 'string') return `must be at ${low ? 'least' : 'most'} ${bound} characters long`;
  return issue.inclusive === false
    ? `must be ${low ? 'more' : 'less'} than ${bound}`
    : `must be at ${low ? 'least' : 'most'} ${bound}`;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'object') return 'a map of fields';
  if (typeof value === 'string') return `the text "${value.length > 40 ? `${value.slice(0, 40)}…` : value}"`;
  return `${typeof value} ${JSON.stringify(value)}`;
}

function valueAt(value: unknown, path: Path): unknown {
  let here: unknown = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<PropertyKey, unknown>)[step];
  }
  return here;
}

/**
 * The words that schemas are written in. Messages complete the sentence "FIELD …"; what to write instead travels as
 * `advice` in the issue's params.
 */
import { z } from 'zod';
import { parseDuration } from '../../../shared/units.ts';
import type { Metadata } from './kind.ts';

/**
 * An object whose fields are all known. The message of its `unrecognized_keys` issue is the list of fields that are
 * accepted, for wording.ts to suggest one.
 */
export function object<S extends z.core.$ZodLooseShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const accepted = Object.keys(shape).join(' ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? accepted : undefined),
  }) as z.ZodObject<S, z.core.$strict>;
}

/** Reports `message` on the field under check, or on one below it. */
export function complain(
  context: { addIssue(issue: { code: 'custom'; message: string; path?: PropertyKey[]; params: object }): void },
  message: string,
  advice: string,
  path: PropertyKey[] = [],
): void {
  context.addIssue({ code: 'custom', message, path, params: { advice } });
}

/** A field of the kind's own API that weft does not act on yet: refused, because skipping it would change its meaning. */
export function notYet(): z.ZodOptional<z.ZodNever> {
  return z.never({ error: 'is not supported yet' }).optional();
}

/** Text of one form; `form` completes "must be …". */
export function text(pattern: RegExp, form: string, longest = 253): z.ZodType<string> {
  return z.string().superRefine((value, context) => {
    if (value.length > longest) complain(context, `must be at most ${longest} characters long`, '');
    else if (!pattern.test(value)) complain(context, `must be ${form}`, '');
  });
}

/** RFC 1123 label: names of Services and namespaces. */
export const label: z.ZodType<string> = text(
  /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/,
  'lower-case letters, digits and "-"',
  63,
);

/** RFC 1123 subdomain: names of most other things. */
export const subdomain: z.ZodType<string> = text(
  /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/,
  'lower-case letters, digits, "-" and "."',
);

export const port: z.ZodType<number> = z.int().min(1).max(65_535);

/** A bare number is taken up only to be told that it lacks its unit. */
const durationText = z.union([z.string(), z.number()], { error: 'must be a duration' });

/** Text in, milliseconds out. */
export const duration: z.ZodType<number> = durationText.transform((value, context) => {
  const ms = parseDuration(String(value));
  if (ms !== null) return ms;
  complain(context, `is not a duration: "${value}"`, 'e.g. 250ms, 10s or 1m30s');
  return z.NEVER;
});

/** A duration that must be longer than nothing. */
export const positiveDuration: z.ZodType<number> = duration.superRefine((ms, context) => {
  if (ms === 0) complain(context, 'must be longer than 0s', '');
});

export const labels: z.ZodType<Readonly<Record<string, string>>> = z.record(z.string(), z.string());

/** Annotations in weft's own namespace; a misspelt one would be skipped in silence otherwise. */
export const OWN_ANNOTATIONS: readonly string[] = ['weft.dev/ignore', 'weft.dev/mtls', 'weft.dev/identities'];

export const metadata: z.ZodType<Metadata> = object({
  name: subdomain,
  namespace: label.optional(),
  labels: labels.default({}),
  annotations: labels.default({}),
});

/** The fields that every document has; spread into its schema. */
export const envelope: {
  readonly apiVersion: z.ZodType<string>;
  readonly kind: z.ZodType<string>;
  readonly metadata: z.ZodType<Metadata>;
} = { apiVersion: z.string(), kind: z.string(), metadata };

/** Reports an entry of a list whose key stands there twice (Kubernetes `listType=map`). */
export function unique<T>(
  list: readonly T[],
  key: (entry: T) => string,
  what: string,
): { readonly index: number; readonly message: string }[] {
  const seen = new Set<string>();
  const repeated: { index: number; message: string }[] = [];
  for (const [index, entry] of list.entries()) {
    const name = key(entry);
    if (seen.has(name)) repeated.push({ index, message: `repeats the ${what} "${name}"` });
    seen.add(name);
  }
  return repeated;
}

/**
 * `make schemas`: the policy kinds as JSON Schemas for editors, one file a kind and `policy.json` that chooses by
 * `apiVersion` and `kind`. Draft 7, because that is what the YAML plugins of editors read.
 *
 * The schemas say less than the decoder: forms that only a program can check (durations, names) are plain strings there.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ignoredFields } from '../proxy/config/model/ignored.ts';
import type { Envelope, Kind } from '../proxy/config/model/kind.ts';
import { KINDS } from '../proxy/config/model/kinds.ts';

export type JsonSchema = z.core.JSONSchema.JSONSchema;

/** File name to content, in the order of the registry. */
export function renderSchemas(): Map<string, string> {
  const files = KINDS.map((kind): [string, JsonSchema] => [fileOf(kind), schemaOf(kind)]);
  return new Map([...files, ['policy.json', chooser()] as const].map(([name, schema]) => [name, text(schema)]));
}

/** The schema of one kind's documents as they are written, fields that weft accepts unread included. */
export function schemaOf(kind: Kind<Envelope>): JsonSchema {
  const { $schema, ...schema } = z.toJSONSchema(kind.schema, {
    io: 'input',
    target: 'draft-7',
    unrepresentable: 'any',
  });
  const properties = schema.properties ?? {};
  properties.apiVersion = { const: kind.apiVersion };
  properties.kind = { const: kind.kind };
  for (const field of ignoredFields(kind.kind)) allow(schema, field.split('.'));
  return { $schema: $schema ?? '', title: `${kind.apiVersion} ${kind.kind}`, ...schema, properties } as JsonSchema;
}

/** Adds a field of any content at `path`; `name[]` steps into the entries of a list. */
function allow(schema: JsonSchema, [step, ...rest]: readonly string[]): void {
  if (step === undefined) return;
  const list = step.endsWith('[]');
  const name = list ? step.slice(0, -2) : step;
  const properties = (schema.properties ??= {});
  const known = properties[name];
  if (rest.length === 0) properties[name] ??= {};
  else if (typeof known === 'object') {
    const below = list ? known.items : known;
    if (typeof below === 'object' && !Array.isArray(below)) allow(below, rest);
  }
}

function chooser(): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'A weft policy document',
    oneOf: KINDS.map((kind) => ({ $ref: fileOf(kind) })),
  };
}

function fileOf(kind: Kind<Envelope>): string {
  return `${kind.kind.toLowerCase()}.json`;
}

function text(schema: JsonSchema): string {
  return `${JSON.stringify(schema, null, 2)}\n`;
}

if (import.meta.main) {
  const folder = join(import.meta.dirname, 'schemas');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const files = renderSchemas();
  for (const [name, content] of files) await writeFile(join(folder, name), content);
  console.log(`schemas: ${files.size} files in deploy/schemas`);
}

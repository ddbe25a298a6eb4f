import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { renderSchemas, schemaOf } from '../../../deploy/schemas.ts';
import { KINDS } from '../../../proxy/config/model/kinds.ts';

const root = join(import.meta.dirname, '../../..');
const folder = join(root, 'deploy/schemas');

interface Document {
  kind: string;
  metadata: Record<string, unknown>;
  [field: string]: unknown;
}

/** True if the JSON Schema of the document's kind accepts it. */
function fits(document: Document): boolean {
  const kind = KINDS.find((each) => each.kind === document.kind);
  if (kind === undefined) throw new Error(`no kind ${document.kind}`);
  return z.fromJSONSchema(schemaOf(kind)).safeParse(document).success;
}

const documents = parseAllDocuments(readFileSync(join(root, 'deploy/demo/policy/mesh.yaml'), 'utf8')).map(
  (document) => document.toJS() as Document,
);

test('the schemas in deploy/schemas are those of the decoder ("make schemas" writes them)', () => {
  const written = readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')] as const);
  expect(Object.fromEntries(written)).toEqual(Object.fromEntries(renderSchemas()));
});

test('the schemas accept real documents, server-set fields and ignored fields included', () => {
  expect(documents.length).toBeGreaterThan(5);
  expect(documents.filter((document) => !fits(document))).toEqual([]);
  const service = documents.find((document) => document.kind === 'Service') as Document;
  const stored = {
    ...service,
    metadata: { ...service.metadata, uid: '1', managedFields: [] },
    spec: { sessionAffinity: 'None', ports: [{ name: 'http', port: 80, nodePort: 30_080 }] },
    status: { loadBalancer: {} },
  };
  expect(fits(stored)).toBe(true);
});

test('the schemas accept every example', () => {
  const examples = join(root, 'deploy/examples');
  const files = readdirSync(examples).filter((name) => name.endsWith('.yaml') && !name.endsWith('.test.yaml'));
  const all = files.flatMap((name) =>
    parseAllDocuments(readFileSync(join(examples, name), 'utf8')).map((each) => each.toJS() as Document),
  );
  expect(all.length).toBeGreaterThan(40);
  expect(all.filter((each) => !fits(each)).map(({ kind, metadata }) => `${kind} ${String(metadata['name'])}`)).toEqual(
    [],
  );
});

test('the schemas refuse what the decoder refuses: a misspelt field, a wrong type, a missing name', () => {
  const [first] = documents as [Document];
  expect(fits({ ...first, spec: { portz: [] } })).toBe(false);
  expect(fits({ ...first, spec: { ports: [{ name: 'http', port: 'eighty' }] } })).toBe(false);
  expect(fits({ ...first, metadata: {} })).toBe(false);
  expect(fits({ ...first, apiVersion: 'v2' })).toBe(false);
});

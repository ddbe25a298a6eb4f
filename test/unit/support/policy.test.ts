import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { endpointSlice, httpRoute, PLAIN, policyFolder, service } from '../../support/policy.ts';

test('a policy folder holds its documents as YAML, in order and without empty fields', () => {
  using folder = policyFolder([
    service({ name: 'web', ports: [{ port: 80, targetPort: 8080 }], annotations: PLAIN }),
    endpointSlice({
      service: 'web',
      ports: [{ port: 8080 }],
      endpoints: ['127.0.0.1', { address: '127.0.0.2', ready: false }],
    }),
    httpRoute({ name: 'r', namespace: 'shop', parent: 'web', rules: [{ backendRefs: [{ name: 'web', port: 80 }] }] }),
  ]);
  const text = readFileSync(join(folder.path, 'policy.yaml'), 'utf8');
  const [web, slice, route] = parseAllDocuments(text).map((document) => document.toJS() as Record<string, unknown>);
  expect(web).toEqual({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', annotations: { 'weft.dev/mtls': 'disabled' } },
    spec: { ports: [{ port: 80, targetPort: 8080 }] },
  });
  expect(slice).toMatchObject({
    metadata: { labels: { 'kubernetes.io/service-name': 'web' } },
    endpoints: [
      { addresses: ['127.0.0.1'], conditions: { ready: true } },
      { addresses: ['127.0.0.2'], conditions: { ready: false } },
    ],
  });
  expect(route).toMatchObject({
    metadata: { namespace: 'shop' },
    spec: { parentRefs: [{ kind: 'Service', name: 'web' }] },
  });
});

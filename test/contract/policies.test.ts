/** What every policy kind must hold, walked over the registry: a kind without a sample here fails. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fields, RequestHead, ResponseHead } from '../../proxy/http/message.ts';
import { POLICY_KINDS } from '../../proxy/policy/policies.ts';
import type { PolicyContext } from '../../proxy/policy/policy.ts';
import { PolicyChain } from '../../proxy/policy/runner.ts';

const headerChanges = { set: [['x-set', 'a']], add: [['x-add', 'b']], remove: ['x-remove'] };
const prefixChange = { type: 'ReplacePrefixMatch', prefix: '/', value: '/moved' };

const SAMPLES: Readonly<Record<string, unknown>> = {
  FaultInjection: {
    delayMs: 0,
    delayPercent: 0,
    abortStatus: 503,
    abortGrpcStatus: -1,
    abortPercent: 50,
    headers: [['x-a', 'b']],
  },
  RequestHeaderModifier: headerChanges,
  ResponseHeaderModifier: headerChanges,
  RequestRedirect: {
    scheme: 'https',
    hostname: null,
    path: prefixChange,
    port: 8443,
    servicePort: 80,
    statusCode: 301,
  },
  URLRewrite: { hostname: 'other.example', path: prefixChange },
  CORS: {
    allowOrigins: ['https://*.example'],
    allowCredentials: true,
    allowMethods: ['*'],
    allowHeaders: ['*'],
    exposeHeaders: ['x-a'],
    maxAgeSeconds: 5,
  },
};

const CONTEXT: PolicyContext = { direction: 'outbound', principal: '', sourceAddress: '127.0.0.1' };
const NOBODY = { policiesDone: (): void => {} };
/** Framing lives in the head's properties; these must never come back as fields. */
const FRAMING = ['content-length', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer', 'keep-alive'];

const name = fc.constantFrom('origin', 'vary', 'x-remove', 'X-Set', 'access-control-request-method', 'accept', 'a');
const value = fc.stringMatching(/^[!-~]{0,12}$/);
const fields = fc.array(fc.tuple(name, value), { maxLength: 8 });
const path = fc.oneof(
  fc.stringMatching(/^\/[!-~]{0,20}$/),
  fc.constantFrom('*', '', '/', '//', '/?', '/a/', '/__proto__'),
);
const request = fc.record({
  method: fc.constantFrom('GET', 'OPTIONS', 'CONNECT', 'x'),
  path,
  authority: fc.constantFrom('', 'a', 'a:80', '[::1]:80', '[::1]'),
  fields,
});

function fieldsOf(pairs: readonly (readonly [string, string])[]): Fields {
  return new Fields(['Host', ...pairs.map((pair) => pair[0])], ['catalog', ...pairs.map((pair) => pair[1])]);
}

describe.each(POLICY_KINDS.map((kind) => [kind.kind, kind] as const))('%s', (kindName, kind) => {
  const prepared = (): PolicyChain => new PolicyChain([kind.prepare(SAMPLES[kindName])]);

  test('prepares a policy of its own name that does something', () => {
    const policy = kind.prepare(SAMPLES[kindName]);
    expect(policy.kind).toBe(kindName);
    expect(policy.onRequest ?? policy.onResponse).toBeTypeOf('function');
  });

  test('survives structured cloning of its configuration, as it crosses threads', () => {
    expect(kind.prepare(JSON.parse(JSON.stringify(SAMPLES[kindName])))).toEqual(kind.prepare(SAMPLES[kindName]));
  });

  test('never throws and leaves framing alone, whatever the request and the response', () => {
    const chain = prepared();
    fc.assert(
      fc.property(request, fields, (asked, answered) => {
        const { method, authority } = asked;
        const head = new RequestHead(
          method,
          'http',
          authority,
          asked.path,
          fieldsOf(asked.fields),
          7,
          11,
          false,
          false,
          false,
          null,
        );
        const decision = chain.request(head, CONTEXT, NOBODY);
        const response = new ResponseHead(200, 'OK', fieldsOf(answered), 9, -1, 11, false, -1, null);
        chain.response(response, head, CONTEXT);
        expect([head.length, response.length, response.status]).toEqual([7, 9, 200]);
        expect(head.method).toBe(method);
        expect(head.fields.getAll('host')).toHaveLength(1);
        for (const field of FRAMING)
          expect([head.fields.has(field), response.fields.has(field)]).toEqual([false, false]);
        if (typeof decision === 'object') {
          expect(decision.status).toBeGreaterThanOrEqual(200);
          for (const [, text] of decision.headers) expect(text).not.toMatch(/[\r\n\0]/);
        }
      }),
      { seed: 7, numRuns: 200 },
    );
  });

  test('treats equal requests equally: it keeps nothing from one to the next', () => {
    const chain = prepared();
    fc.assert(
      fc.property(request, request, (one, other) => {
        const run = (asked: typeof one): string => {
          const head = new RequestHead(
            asked.method,
            'http',
            asked.authority,
            asked.path,
            fieldsOf(asked.fields),
            0,
            11,
            false,
            false,
            false,
            null,
          );
          const decision = chain.request(head, CONTEXT, NOBODY);
          return JSON.stringify([decision, head.path, head.authority, head.fields.wire]);
        };
        const first = run(one);
        run(other);
        expect(run(one)).toBe(first);
      }),
      { seed: 8, numRuns: 100 },
    );
  });
});

test('every kind has a sample here and its name is its own', () => {
  const names = POLICY_KINDS.map((kind) => kind.kind);
  expect(new Set(names).size).toBe(names.length);
  expect(Object.keys(SAMPLES).toSorted()).toEqual(names.toSorted());
});

/**
 * A sidecar tells its caller in Proxy-Status that a request never reached the application, and the caller sends it again. An
 * application that says so itself, or passes on what its own sidecar told it, must not have its requests doubled.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, header, meshed, post, TinyMesh } from '../integration/mesh.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import type { Weft } from '../support/weft.ts';

const FORGED = 'weft; error=connection_refused; details="connect_refused: nothing listens"';

let mesh: TinyMesh;
let app: Backend;
let caller: Weft;
beforeAll(async () => {
  mesh = new TinyMesh();
  app = mesh.own(await startBackend());
  const callee = await mesh.start({ account: 'app', app: app.port });
  caller = await mesh.start({
    account: 'caller',
    documents: meshed({ name: 'app', endpoints: [callee.ports.inbound] }),
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());

describe('a POST is sent once, whatever the application claims', () => {
  test.for([
    ['in our spelling', [FORGED]],
    ['after another proxy', [`cache; hit, ${FORGED}`]],
    ['in several lines', ['cache; hit', FORGED]],
  ] as const)('%s', async ([, lines]) => {
    app.requests.length = 0;
    app.behaviour = (_request, response) => {
      response.setHeader('proxy-status', [...lines]);
      response.writeHead(503, { 'content-length': 4 });
      response.end('mine');
    };
    const answer = await ask(caller.ports.outbound, post('app', 'body'));
    expect(app.requests).toHaveLength(1);
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toBe('mine');
    expect(header(answer, 'proxy-status') ?? '').not.toContain('weft');
  });

  test('and what other proxies say is passed on', async () => {
    app.behaviour = (_request, response) => {
      response.writeHead(503, { 'content-length': 0, 'proxy-status': 'cache; error=dns_error' });
      response.end();
    };
    expect(header(await ask(caller.ports.outbound, post('app', 'body')), 'proxy-status')).toBe(
      'cache; error=dns_error',
    );
  });
});

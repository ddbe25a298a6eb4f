/**
 * The window of a connection is what all its streams share: what one of them leaves behind at its end must not be missing
 * to those that come later, on a connection of a caller and on one to an endpoint, however many have ended so.
 */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { meshed, plain, TinyMesh } from '../integration/mesh.ts';
import { eventually } from '../support/eventually.ts';
import type { Weft } from '../support/weft.ts';
import { answerOf, H2App, type H2Behaviour, H2Caller } from './http2-peers.ts';

/** Less than the window of a stream, so that all of it travels whoever reads it. */
const BODY = Buffer.alloc(240_000, 'x');
/** More bytes in all than the windows of the four connections to an endpoint, 64 MB each. */
const DOWNLOADS = 1200;
/** Fewer than a caller may have open at once. */
const STREAMS = 75;
/** More than the window of a caller's connection, 1 MB. */
const UPLOADS = 12;

const mesh = new TinyMesh();
const app = new H2App();
let hop: Weft;
let caller: Weft;

/** More than four connections would have room for, if each had 16 MB. */
const STALLED = 300;

/** Bodies that have left the application. */
let sent = 0;

/** Sends its body, refuses an upload without reading it, or counts one. */
const behaviour: H2Behaviour = (stream, { headers, body }) => {
  const path = headers[':path'];
  if (path === '/endless') {
    stream.respond({ ':status': 200 });
    const more = (): void => void stream.write(BODY.subarray(0, 16_384), (error) => error ?? more());
    more();
  } else if (path === '/body') {
    stream.respond({ ':status': 200 });
    stream.end(BODY, () => sent++);
  } else if (path === '/refused') {
    stream.respond({ ':status': 403 });
    stream.end('no');
  } else {
    void body.then(({ length }) => {
      if (stream.destroyed) return;
      stream.respond({ ':status': 200 });
      stream.end(String(length));
    });
  }
};

beforeAll(async () => {
  app.behaviour = behaviour;
  mesh.own(await app.listen());
  const service = { name: 'two', appProtocol: 'kubernetes.io/h2c' };
  const callee = await mesh.start({ account: 'two', app: app.port });
  hop = await mesh.start({ account: 'hop', documents: plain({ ...service, endpoints: [app.port] }) });
  caller = await mesh.start({
    account: 'caller',
    documents: meshed({ ...service, endpoints: [callee.ports.inbound] }),
  });
});
afterAll(() => mesh[Symbol.asyncDispose]());

const through = [
  ['one hop', () => hop.ports.outbound],
  ['two sidecars with mutual TLS', () => caller.ports.outbound],
] as const;

describe.each(through)('through %s', (_name, port) => {
  test('answers that wait for their callers leave the next caller all of the window', async () => {
    using callers = new DisposableStack();
    let idle: H2Caller | null = null;
    for (let i = 0; i < DOWNLOADS; i++) {
      if (i % STREAMS === 0) idle = callers.use(new H2Caller(port()));
      const before = sent;
      // The window of the one who asks is a quarter of the body, and nobody reads on.
      await once((idle as H2Caller).open({ ':authority': 'two', ':path': '/body' }, true), 'response');
      await eventually('the application has sent all', () => sent > before || undefined);
    }
    using client = new H2Caller(port());
    const { status, body } = await client.ask({ ':authority': 'two', ':path': '/body' });
    expect({ status, bytes: body.length }).toEqual({ status: 200, bytes: BODY.length });
  });

  test('callers who stop reading in the middle of long answers leave the next caller its answer', async () => {
    using callers = new DisposableStack();
    for (let i = 0; i < STALLED; i++) {
      const caller = callers.use(new H2Caller(port()));
      await once(caller.open({ ':authority': 'two', ':path': '/endless' }, true), 'response');
    }
    using client = new H2Caller(port());
    const { status, body } = await client.ask({ ':authority': 'two', ':path': '/body' });
    expect({ status, bytes: body.length }).toEqual({ status: 200, bytes: BODY.length });
  });

  test('uploads that are answered before they were read leave the next upload all of the window', async () => {
    using client = new H2Caller(port());
    for (let i = 0; i < UPLOADS; i++) {
      const stream = client.open({ ':authority': 'two', ':path': '/refused', ':method': 'POST' });
      stream.end(BODY);
      expect((await answerOf(stream)).status).toBe(403);
    }
    const { body } = await client.ask({ ':authority': 'two', ':path': '/count', ':method': 'POST' }, { body: BODY });
    expect(String(body)).toBe(String(BODY.length));
  });
});

/** Identities that change in the middle of a handshake: what was begun under the old one is judged by the new one. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, expect, test } from 'vitest';
import { get, logLine, meshed, TinyMesh, wordOf } from '../integration/mesh.ts';
import { asPeer, rotate } from '../integration/rotating.ts';
import { startBackend, text } from '../support/backend.ts';
import { TestCa } from '../support/certificates.ts';
import { type Answer, openClient, openTlsClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { answerWith } from './stage.ts';

const mesh = new TinyMesh();
const other = new TestCa('root that goes');
const both = mesh.ca.trustBundle + other.trustBundle;
afterAll(() => mesh[Symbol.asyncDispose]());

/** A hop that can keep the far side's half of a handshake to itself. */
class Hop implements AsyncDisposable {
  /** Connections whose far side has spoken, and is kept waiting. */
  readonly held: (() => void)[] = [];
  holding = false;
  private readonly target: number;
  private readonly sockets: Socket[] = [];
  private readonly server = createServer((near) => this.join(near));

  constructor(target: number) {
    this.target = target;
  }

  async listen(): Promise<number> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  release(): void {
    this.holding = false;
    for (const go of this.held.splice(0)) go();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await once(this.server, 'close');
  }

  private join(near: Socket): void {
    const far = connect(this.target, '127.0.0.1');
    this.sockets.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => socket.destroy());
    near.pipe(far);
    far.once('readable', () => {
      if (this.holding) this.held.push(() => far.pipe(near));
      else far.pipe(near);
    });
  }
}

async function startHop(target: number): Promise<[Hop, number]> {
  const hop = mesh.own(new Hop(target));
  return [hop, await hop.listen()];
}

test('a caller whose root is removed while it shakes hands is refused when it has', async () => {
  const app = mesh.own(await startBackend(text('served')));
  const callee = await mesh.start({ account: 'callee', app: app.port });
  await rotate(mesh, callee, 'callee', mesh.ca.identity('default/callee', { trustBundle: both }));
  const [hop, port] = await startHop(callee.ports.inbound);
  const peer = asPeer(other.identity('default/friend', { trustBundle: both }));
  {
    using before = await openTlsClient(port, peer);
    expect((await before.exchange(get('callee'))).status).toBe(200);
  }
  hop.holding = true;
  const opening = openTlsClient(port, peer);
  await eventually('the handshake has begun', () => hop.held.length > 0 || undefined);
  await rotate(mesh, callee, 'callee', mesh.ca.identity('default/callee'));
  hop.release();
  using client = await opening;
  await client.ended;
  expect(client.text).toBe('');
  expect(await logLine(callee, (line) => line['word'] === 'peer_untrusted_ca')).toMatchObject({
    detail: expect.stringMatching(/^trust_changed: /),
  });
});

test('a call that resumes a session is not lost when the ticket is dropped meanwhile', async () => {
  const seen: boolean[] = [];
  const { certificateChain: cert, privateKey: key } = mesh.ca.identity('default/callee');
  const server = createTlsServer({ cert, key, ALPNProtocols: ['istio'] }, (socket) => {
    seen.push(socket.isSessionReused());
    socket.on('error', () => socket.destroy());
    socket.on('data', () => socket.write(answerWith('served')));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const [hop, port] = await startHop((server.address() as AddressInfo).port);
  const documents = meshed({ name: 'raw', endpoints: [port], appProtocol: 'tcp' });
  const caller = await mesh.start({ account: 'caller', documents });
  const tunnel = async (): Promise<Answer> => {
    using client = await openClient(caller.ports.outbound);
    const opened = await client.exchange('CONNECT raw:80 HTTP/1.1\r\nHost: raw:80\r\n\r\n', 'CONNECT');
    return opened.status === 200 ? await client.exchange(get('raw')) : opened;
  };
  await eventually('the session is resumed', async () => {
    expect((await tunnel()).status).toBe(200);
    return seen.at(-1) || undefined;
  });
  hop.holding = true;
  const resuming = tunnel();
  await eventually('its handshake has begun', () => hop.held.length === 1 || undefined);
  await rotate(mesh, caller, 'caller', mesh.ca.identity('default/caller'));
  const fresh = tunnel();
  await eventually('another one has begun', () => hop.held.length === 2 || undefined);
  const calls = seen.length;
  hop.release();
  const answers = await Promise.all([resuming, fresh]);
  expect(answers.map((answer) => [answer.status, wordOf(answer)])).toEqual([
    [200, undefined],
    [200, undefined],
  ]);
  expect(seen.slice(calls).map(String).toSorted()).toEqual(['false', 'true']);
  server.close();
});

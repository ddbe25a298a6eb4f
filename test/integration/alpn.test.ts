/**
 * The ALPN matrix of CONTRACT, "Between sidecars", against peers that are not weft: Node's own TLS and HTTP as Envoys
 * that select, or offer, one thing each.
 */
import { once } from 'node:events';
import { createServer as createHttp1 } from 'node:http';
import { connect as connectH2, performServerHandshake } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect as connectTls, createServer as createTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HTTP_ALPN } from '../../proxy/upstream/cluster.ts';
import { H2App, H2Caller } from '../interop/http2-peers.ts';
import { RawClient } from '../support/client.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, meshed, TinyMesh } from './mesh.ts';

/** What the far side takes of what it is offered; `nothing`: it knows no ALPN. */
const SELECTIONS = ['istio-h2', 'istio-http/1.1', 'istio', 'h2', 'http/1.1', 'nothing'] as const;
type Selection = (typeof SELECTIONS)[number];

const mesh = new TinyMesh();
const material = ((identity) => ({
  cert: identity.certificateChain,
  key: identity.privateKey,
  ca: identity.trustBundle,
  minVersion: 'TLSv1.3' as const,
}))(mesh.ca.identity('default/peer'));

/** A peer of the mesh that selects one token, and answers with the version of HTTP that it was spoken to in. */
class FakeEnvoy implements AsyncDisposable {
  /** What each ClientHello offered, and what was then spoken. */
  readonly offers: string[][] = [];
  port = 0;
  private readonly http1 = createHttp1((_request, response) => response.end('HTTP/1.1'));
  private readonly server;

  constructor(selection: Selection) {
    const choose = ({ protocols }: { protocols: string[] }): string | undefined => {
      this.offers.push(protocols);
      return protocols.includes(selection) ? selection : undefined;
    };
    const alpn = selection === 'nothing' ? {} : { ALPNCallback: choose };
    this.server = createTls({ ...material, requestCert: true, rejectUnauthorized: true, ...alpn }, (socket) =>
      this.serve(socket),
    );
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
  }

  /** Told by the first bytes, as an Envoy does that sniffs. */
  private serve(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy());
    socket.once('data', (first: Buffer) => {
      socket.pause();
      socket.unshift(first);
      if (first.toString('latin1').startsWith('PRI * HTTP/2.0')) {
        const session = performServerHandshake(socket);
        session.on('error', () => session.destroy());
        session.on('stream', (stream) => stream.end('HTTP/2.0'));
      } else {
        this.http1.emit('connection', socket);
        socket.resume();
      }
    });
  }
}

describe('what weft speaks to a peer that selects', () => {
  let caller: Weft;
  const peers = new Map<Selection, FakeEnvoy>();

  beforeAll(async () => {
    const documents: string[] = [];
    for (const selection of SELECTIONS) {
      const peer = mesh.own(await new FakeEnvoy(selection).listen());
      peers.set(selection, peer);
      documents.push(...meshed({ name: nameOf(selection), endpoints: [peer.port] }));
    }
    caller = await mesh.start({ account: 'caller', documents });
  });

  test.each([
    ['istio-h2', 'HTTP/2.0'],
    ['istio-http/1.1', 'HTTP/1.1'],
    ['istio', 'HTTP/1.1'],
    ['http/1.1', 'HTTP/1.1'],
    ['nothing', 'HTTP/1.1'],
  ] as const)('%s, with a request of HTTP/1.1: %s', async (selection, spoken) => {
    for (const _again of [1, 2]) {
      const answer = await ask(caller.ports.outbound, get(nameOf(selection)));
      expect({ status: answer.status, spoken: String(answer.body) }).toEqual({ status: 200, spoken });
    }
    if (selection !== 'nothing') expect(peers.get(selection)?.offers[0]).toEqual(HTTP_ALPN.h1);
  });

  test.each([
    ['istio-h2', 'HTTP/2.0'],
    ['istio', 'HTTP/2.0'],
    ['h2', 'HTTP/2.0'],
    ['nothing', 'HTTP/2.0'],
  ] as const)('%s, with a request of HTTP/2: %s', async (selection, spoken) => {
    using client = new H2Caller(caller.ports.outbound);
    for (const _again of [1, 2]) {
      const answer = await client.ask({ ':authority': nameOf(selection) });
      expect({ status: answer.status, spoken: String(answer.body) }).toEqual({ status: 200, spoken });
    }
    // The first peer's connection was made for a request of HTTP/1.1, and carries those of HTTP/2 too.
    const offered = selection === 'istio-h2' ? HTTP_ALPN.h1 : HTTP_ALPN.h2;
    if (selection !== 'nothing') expect(peers.get(selection)?.offers.at(-1)).toEqual(offered);
  });

  test('a peer that takes none of the offers is no peer: the handshake fails, the caller gets 502', async () => {
    expect((await ask(caller.ports.outbound, get(nameOf('h2')))).status).toBe(502);
  });
});

function nameOf(selection: Selection): string {
  return `takes-${selection.replaceAll(/[/.]/g, '-')}`;
}

describe('what weft understands of a peer that offers', () => {
  const app = new H2App();
  let strict: Weft;

  beforeAll(async () => {
    mesh.own(await app.listen());
    strict = await mesh.start({ account: 'callee', app: app.port });
    await mesh.apply(
      strict,
      'callee',
      meshed({ name: 'callee', endpoints: [strict.ports.inbound], appProtocol: 'http2' }),
    );
  });

  test.each([
    [['istio-h2', 'istio-http/1.1', 'istio', 'http/1.1'], 'istio-h2'],
    [['http/1.1', 'istio', 'istio-http/1.0', 'istio-http/1.1'], 'istio-http/1.1'],
    [['istio', 'h2'], 'istio'],
    [['h2', 'http/1.1'], 'h2'],
    [['http/1.1'], 'http/1.1'],
  ])('%j: selected is %s', async (offered, selected) => {
    const socket = await dial(offered);
    expect(socket.alpnProtocol).toBe(selected);
    socket.destroy();
  });

  test('no token that it knows: the handshake fails', async () => {
    await expect(dial(['spdy/3'])).rejects.toThrow();
  });

  test.each(['istio-http/1.1', 'istio', 'http/1.1', ''])('%j, with a request of HTTP/1.1', async (offered) => {
    using client = new RawClient(await dial(offered === '' ? [] : [offered]));
    expect((await client.exchange(get('callee'))).status).toBe(200);
  });

  test.each(['istio-h2', 'istio', 'h2', ''])('%j, with a request of HTTP/2', async (offered) => {
    const socket = await dial(offered === '' ? [] : [offered]);
    const session = connectH2('http://callee', { createConnection: () => socket });
    const stream = session.request({ ':path': '/' });
    const [headers] = (await once(stream, 'response')) as [{ ':status'?: number }];
    expect(headers[':status']).toBe(200);
    session.destroy();
  });

  async function dial(offered: readonly string[]): Promise<TLSSocket> {
    const alpn = offered.length === 0 ? {} : { ALPNProtocols: [...offered] };
    const socket = connectTls({
      ...material,
      port: strict.ports.inbound,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...alpn,
    });
    await once(socket, 'secureConnect');
    return socket;
  }
});

afterAll(() => mesh[Symbol.asyncDispose]());

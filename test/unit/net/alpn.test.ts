import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { type MeshAccepts, MeshTls } from '../../../proxy/net/mesh-tls.ts';
import { MeshDial } from '../../../proxy/upstream/mesh-dial.ts';
import { connectSecure } from '../../../proxy/upstream/secure-dial.ts';
import { TestCa } from '../../support/certificates.ts';
import { plainEnds } from './sockets.ts';

const TRUST = { trustDomain: 'cluster.local', aliases: [] };

/** Node's own: what a TLS socket keeps of the protocols it was made with. */
interface Kept {
  readonly _tlsOptions: { readonly ALPNProtocols: Buffer };
}

function bytesKept(socket: TLSSocket): number {
  return (socket as unknown as Kept)._tlsOptions.ALPNProtocols.buffer.byteLength;
}

test('neither end of a mesh connection keeps more of its ALPN tokens than their bytes', async () => {
  const ca = new TestCa();
  const accepted = Promise.withResolvers<TLSSocket>();
  const accepts: MeshAccepts = {
    onPeer: (socket) => accepted.resolve(socket),
    onRefused: (failure, detail) => accepted.reject(new Error(`${failure.word} ${detail}`)),
  };
  const mesh = (account: string): MeshTls =>
    new MeshTls(ca.identity(`default/${account}`), Buffer.alloc(48), () => TRUST, accepts);
  const service = { namespace: 'default', service: 'app', identities: [] };
  using ends = await plainEnds();
  mesh('app').handshake(ends.near, { sourceAddress: '10.0.0.1', sourcePort: 1, original: null });
  const dial = new MeshDial(mesh('friend'), service, ['istio', 'h2'], TRUST);
  const client = connectSecure(dial, { socket: ends.far }, null);
  const [server] = await Promise.all([accepted.promise, once(client, 'secureConnect')]);
  expect([client.alpnProtocol, server.alpnProtocol]).toEqual(['istio', 'istio']);
  expect(bytesKept(client)).toBe('.istio.h2'.length);
  expect(bytesKept(server)).toBe('.istio-h2.istio-http/1.1.istio-http/1.0.istio.h2.http/1.1'.length);
  client.destroy();
  server.destroy();
});

import { once } from 'node:events';
import { connect } from 'node:tls';
import { expect, test } from 'vitest';
import type { Arrival } from '../../../proxy/net/arrival.ts';
import { MeshTls } from '../../../proxy/net/mesh-tls.ts';
import { TestCa } from '../../support/certificates.ts';
import { plainEnds } from './sockets.ts';

test('where a connection came from is known again after its handshake, for each of two at once', async () => {
  const ca = new TestCa();
  const seen: Arrival[] = [];
  const both = Promise.withResolvers<void>();
  const mesh = new MeshTls(
    ca.identity('default/app'),
    Buffer.alloc(48),
    () => ({ trustDomain: 'cluster.local', aliases: [] }),
    {
      onPeer(socket, _peer, arrival) {
        socket.on('error', () => socket.destroy());
        seen.push(arrival);
        if (seen.length === 2) both.resolve();
      },
      onRefused: (failure, detail) => both.reject(new Error(`${failure.word} ${detail}`)),
    },
  );
  using one = await plainEnds();
  using two = await plainEnds();
  const arrivals = [one, two].map(({ near }, i): Arrival => {
    const arrival = { sourceAddress: `10.0.0.${i}`, sourcePort: i, original: { host: '10.1.0.1', port: 80 + i } };
    mesh.handshake(near, arrival);
    return arrival;
  });
  const { certificateChain: cert, privateKey: key } = ca.identity('default/friend');
  const clients = [one, two].map(({ far }) =>
    connect({ socket: far, cert, key, ca: ca.trustBundle, checkServerIdentity: () => undefined }),
  );
  await Promise.all(clients.map((client) => once(client, 'secureConnect')));
  await both.promise;
  expect(seen.toSorted((a, b) => a.sourcePort - b.sourcePort)).toEqual(arrivals);
  for (const client of clients) client.destroy();
});

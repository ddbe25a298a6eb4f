/** Two ends of one loopback connection in this process, plain or TLS. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { TestCa } from '../../support/certificates.ts';

export interface Ends<S extends Socket> extends Disposable {
  readonly near: S;
  readonly far: S;
}

/** `near` was accepted and is stopped. */
export async function plainEnds(): Promise<Ends<Socket>> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [near] = (await once(server, 'connection')) as [Socket];
  server.close();
  return ends(near, far);
}

export async function tlsEnds(): Promise<Ends<TLSSocket>> {
  const { certificateChain: cert, privateKey: key } = new TestCa().identity('default/near');
  const server = createTlsServer({ cert, key, allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const where = { port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true };
  const far = connectTls(where);
  const [[near]] = await Promise.all([
    once(server, 'secureConnection') as Promise<[TLSSocket]>,
    once(far, 'secureConnect'),
  ]);
  near.pause();
  server.close();
  return ends(near, far);
}

function ends<S extends Socket>(near: S, far: S): Ends<S> {
  for (const socket of [near, far]) socket.on('error', () => {});
  return {
    near,
    far,
    [Symbol.dispose]() {
      near.destroy();
      far.destroy();
    },
  };
}

/** Everything that arrives until `bytes` have. */
export async function read(socket: Socket, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('data', (part: Buffer) => {
    parts.push(Buffer.from(part));
    length += part.length;
    if (length >= bytes) resolve();
  });
  await promise;
  return Buffer.concat(parts);
}

/** The first TLS record, in however many pieces it comes. */
export async function readRecord(socket: Socket): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  while (bytes.length < 5 || bytes.length < 5 + bytes.readUInt16BE(3)) {
    const [piece] = (await once(socket, 'data')) as [Buffer];
    bytes = Buffer.concat([bytes, piece]);
  }
  return bytes;
}

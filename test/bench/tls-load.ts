/** A caller's side of mutual TLS: handshakes by the thousand, full or resumed. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { sendNoMoreThanOwn } from '../../proxy/net/openssl-context.ts';

/** Sends its leaf alone, as sidecars do: Node would add the root. */
export function callerContext(certs: string): SecureContext {
  const file = (name: string): Buffer => readFileSync(join(certs, name));
  const context = createSecureContext({
    cert: file('tls.crt'),
    key: file('tls.key'),
    ca: file('ca.crt'),
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256',
    ecdhCurve: 'X25519',
  });
  sendNoMoreThanOwn(context);
  return context;
}

/** Offers what a sidecar offers for HTTP/1.1 and what any server knows. */
export function openTls(port: number, secureContext: SecureContext, session?: Buffer): TLSSocket {
  return connect({
    port,
    host: '127.0.0.1',
    secureContext,
    servername: 'callee.default.svc',
    ALPNProtocols: ['istio-http/1.1', 'http/1.1'],
    checkServerIdentity: () => undefined,
    ...(session === undefined ? {} : { session }),
  });
}

/** A ticket of the server: TLS 1.3 sends it once the caller is verified, some servers only along with an answer. */
export async function takeTicket(port: number, secureContext: SecureContext): Promise<Buffer> {
  const socket = openTls(port, secureContext);
  socket.write('GET /1k HTTP/1.1\r\nHost: backend\r\n\r\n');
  const [ticket] = (await once(socket, 'session')) as [Buffer];
  socket.destroy();
  return ticket;
}

/** Handshakes completed within `ms`, `parallel` at a time, each on a connection of its own that is then closed. */
export async function shakeHands(
  port: number,
  secureContext: SecureContext,
  ticket: Buffer | undefined,
  parallel: number,
  ms: number,
): Promise<number> {
  const end = performance.now() + ms;
  let done = 0;
  const loop = async (): Promise<void> => {
    while (performance.now() < end) {
      const socket = openTls(port, secureContext, ticket);
      socket.resume();
      await once(socket, 'secureConnect');
      if (socket.isSessionReused() !== (ticket !== undefined)) throw new Error('resumed what should be full, or not');
      socket.end();
      // The server closes too: it has seen our last flight, and so verified us.
      await once(socket, 'close');
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, loop));
  return done;
}

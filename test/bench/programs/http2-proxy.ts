/**
 * The proxy that one would write with `node:http2`: each stream of a server session becomes a stream of the one client
 * session to the upstream, piped both ways, trailers passed on.
 *
 * Arguments: own port, port of the upstream, then `caller CERTS` (mutual TLS towards the upstream), `callee CERTS`
 * (mutual TLS from the caller) or nothing (clear text on both sides).
 */
import { readFileSync } from 'node:fs';
import {
  type ClientHttp2Session,
  connect,
  constants,
  createSecureServer,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { join } from 'node:path';

const [ownPort, upstreamPort, role = 'plain', certs = ''] = process.argv.slice(2);
const file = (name: string): Buffer => readFileSync(join(certs, name));
const mutualTls = () => ({
  cert: file('tls.crt'),
  key: file('tls.key'),
  ca: file('ca.crt'),
  minVersion: 'TLSv1.3' as const,
  ciphers: 'TLS_AES_128_GCM_SHA256',
  ecdhCurve: 'X25519',
});

let upstream: ClientHttp2Session | null = null;

function session(): ClientHttp2Session {
  if (upstream !== null && !upstream.closed && !upstream.destroyed) return upstream;
  upstream =
    role === 'caller'
      ? connect(`https://127.0.0.1:${upstreamPort}`, { ...mutualTls(), servername: 'callee.default.svc' })
      : connect(`http://127.0.0.1:${upstreamPort}`);
  upstream.on('error', () => undefined);
  return upstream;
}

function forward(inner: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): void {
  const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  const outer = session().request(headers, { endStream });
  let trailers: IncomingHttpHeaders = {};
  outer.on('response', (answer, answerFlags) => {
    // The caller may have gone while the answer was on its way.
    if (inner.closed || inner.destroyed) return;
    if ((answerFlags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
      inner.respond(answer, { endStream: true });
      return;
    }
    inner.respond(answer, { waitForTrailers: true });
    outer.pipe(inner);
  });
  outer.on('trailers', (received) => {
    trailers = received;
  });
  inner.on('wantTrailers', () => {
    if (!inner.closed && !inner.destroyed) inner.sendTrailers(trailers);
  });
  outer.on('error', () => inner.close(outer.rstCode));
  inner.on('error', () => outer.close(inner.rstCode));
  inner.on('aborted', () => outer.close(constants.NGHTTP2_CANCEL));
  if (!endStream) inner.pipe(outer);
}

const server =
  role === 'callee'
    ? createSecureServer({ ...mutualTls(), requestCert: true, rejectUnauthorized: true })
    : createServer();
server.on('stream', forward);
server.on('sessionError', () => undefined);
server.listen(Number(ownPort), '127.0.0.1', 4096);

/** A mutual TLS server that does nothing with its connections. Arguments: port, folder of its certificates. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createServer } from 'node:tls';

const [port, certs = ''] = process.argv.slice(2);
const file = (name: string): Buffer => readFileSync(join(certs, name));

const server = createServer({
  cert: file('tls.crt'),
  key: file('tls.key'),
  ca: file('ca.crt'),
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
  ecdhCurve: 'X25519',
  sessionIdContext: 'bench',
});
server.on('secureConnection', (socket) => {
  socket.on('error', () => socket.destroy());
  socket.resume();
});
server.on('tlsClientError', (_error, socket) => socket.destroy());
server.listen(Number(port), '127.0.0.1', 4096);

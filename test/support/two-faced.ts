/**
 * An application that speaks HTTP and its own TLS on one port, says which of them it was asked in, and echoes what
 * follows an upgrade.
 */
import { once } from 'node:events';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Identity } from '../../certs/identity.ts';

const TLS_HANDSHAKE = 22;

/** Whoever started it stops it. */
export class TwoFaced implements AsyncDisposable {
  readonly port: number;
  private readonly server: TcpServer;
  private readonly http: HttpServer;

  constructor(server: TcpServer, http: HttpServer) {
    this.server = server;
    this.http = http;
    this.port = (server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.http.closeAllConnections();
    this.server.close();
    if (this.server.listening) await once(this.server, 'close');
  }
}

/** Answers `tls`, `mesh` (a sidecar before it has verified the caller) or `plain`. */
export async function startTwoFaced({ certificateChain: cert, privateKey: key }: Identity): Promise<TwoFaced> {
  const http = createHttpServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const verified = request.headers['x-forwarded-client-cert'] !== undefined;
    const body = request.socket instanceof TLSSocket ? 'tls' : verified ? 'mesh' : 'plain';
    response.writeHead(200, { 'content-length': body.length }).end(body);
  });
  http.on('upgrade', (_request, socket) => {
    socket.on('error', () => socket.destroy());
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.pipe(socket);
  });
  const tls: TlsServer = createTlsServer({ cert, key }, (socket) => http.emit('connection', socket));
  tls.on('tlsClientError', (_error, socket) => socket.destroy());
  const server = createTcpServer((socket: Socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (first: Buffer) => {
      socket.pause();
      socket.unshift(first);
      if (first[0] === TLS_HANDSHAKE) {
        tls.emit('connection', socket);
      } else {
        http.emit('connection', socket);
        socket.resume();
      }
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return new TwoFaced(server, http);
}

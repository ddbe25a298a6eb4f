/**
 * Calls of the control thread to the own application, as kubelet and Prometheus would make them: in plain text or with any
 * certificate, from the address whose traffic the redirect lets pass.
 */
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { deliversFrom } from './application.ts';

export interface AppRequest {
  readonly port: number;
  readonly path: string;
  readonly https: boolean;
  /** Names and values in turn, sent in this order and case; without a Host none is added. */
  readonly headers: readonly string[];
  /** Of the answer's body; what is longer is refused, or with `cut` not read. */
  readonly maxBytes: number;
  readonly cut: boolean;
}

export interface AppAnswer {
  readonly status: number;
  readonly text: string;
}

/** Follows no redirect and keeps no connection. Rejects where no whole answer comes, or `signal` aborts. */
export function requestApp(wanted: AppRequest, host: string, signal: AbortSignal): Promise<AppAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<AppAnswer>();
  const { port, path, https, headers, maxBytes, cut } = wanted;
  const answered = (answer: IncomingMessage): void => {
    const chunks: Buffer[] = [];
    let length = 0;
    const done = (): void => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
    answer.on('error', reject).on('end', done);
    answer.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else if (cut) {
        done();
        answer.destroy();
      } else answer.destroy(new Error(`more than ${maxBytes} bytes`));
    });
  };
  const { request } = process.getBuiltinModule(https ? 'node:https' : 'node:http');
  const options = { ...from(host), port, path, headers: [...headers], signal, agent: false, rejectUnauthorized: false };
  request(options, answered).on('error', reject).end();
  return promise;
}

/** A connected socket; whoever asked destroys it. */
export function connectApp(port: number, host: string, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ ...from(host), port, noDelay: true });
  signal.addEventListener('abort', () => socket.destroy(new Error('out of time')), { once: true });
  socket.on('error', reject).once('connect', () => resolve(socket));
  return promise;
}

function from(host: string): { host: string; localAddress: string } {
  return { host, localAddress: deliversFrom(host) };
}

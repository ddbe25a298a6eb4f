/** What the demo sends: a steady load, one request with a trace of its own, and plain text where none is welcome. */
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { connect } from 'node:net';
import { openLoop } from '../../test/support/load.ts';
import type { Answers } from './claims.ts';

/** Requests per second and milliseconds: a load that two cores carry beside twelve processes. */
export const LOAD = { rate: 150, durationMs: 6_000, connections: 16 };

/** Asks `port` as LOAD says and counts which catalog instance answered; `onAnswer` hears of each answer. */
export async function load(port: number, onAnswer: (answered: number) => void): Promise<Answers> {
  const byInstance = new Map<string, number>();
  let answered = 0;
  const check = (body: Buffer): string | null => {
    const instance = instanceOf(body.toString());
    if (instance === undefined) return 'an answer without a catalog instance';
    byInstance.set(instance, (byInstance.get(instance) ?? 0) + 1);
    answered += 1;
    onAnswer(answered);
    return null;
  };
  const { sent, failures } = await openLoop({ port, headers: { host: 'storefront' }, ...LOAD, check });
  return { sent, failures, byInstance };
}

function instanceOf(text: string): string | undefined {
  return (JSON.parse(text) as { catalog?: { instance?: string } }).catalog?.instance;
}

/** One request whose caller asks for a trace. Answers the trace's ID. */
export async function tracedRequest(port: number): Promise<string> {
  const traceId = randomBytes(16).toString('hex');
  const traceparent = `00-${traceId}-${randomBytes(8).toString('hex')}-01`;
  await new Promise<void>((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, headers: { host: 'storefront', traceparent } }, (answer) => {
      answer.resume();
      answer.on('end', resolve);
      answer.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
  return traceId;
}

/** Sends an HTTP request in the clear. Answers how many bytes came back before the connection ended. */
export function plaintext(port: number): Promise<number> {
  return new Promise((resolve) => {
    let bytes = 0;
    const socket = connect({ host: '127.0.0.1', port }, () =>
      socket.write('GET /stock HTTP/1.1\r\nHost: inventory\r\n\r\n'),
    );
    socket.on('data', (part) => {
      bytes += part.length;
    });
    socket.on('error', () => undefined); // A reset is a refusal too; 'close' follows.
    socket.on('close', () => resolve(bytes));
    socket.setTimeout(5_000, () => socket.destroy());
  });
}

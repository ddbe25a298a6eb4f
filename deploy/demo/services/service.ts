/**
 * What the demo's three services share. They know nothing of a mesh: they listen on PORT, call others by name through
 * the address in OUTBOUND, and pass the caller's trace context on.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http';

type Answer = (headers: IncomingHttpHeaders) => unknown;

/** Answers every request with what `answer` makes of it (or its promise), as JSON; 502 with the reason if it fails. */
export function serve(answer: Answer): void {
  const server = createServer((incoming, outgoing) => void respond(answer, incoming, outgoing));
  // Sidecars keep connections to the application; the application must not be the one to close an idle one first.
  server.keepAliveTimeout = 600_000;
  server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'));
}

async function respond(answer: Answer, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  incoming.resume();
  let status = 200;
  let body: unknown;
  try {
    body = await answer(incoming.headers);
  } catch (error) {
    status = 502;
    body = { error: String(error) };
  }
  const text = `${JSON.stringify(body)}\n`;
  outgoing.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  outgoing.end(text);
}

/** GET `path` of the service `name`; rejects unless the answer is 200. */
export function call(name: string, path: string, caller: IncomingHttpHeaders): Promise<unknown> {
  const [host, port] = (process.env.OUTBOUND ?? '').split(':');
  const trace = Object.fromEntries(
    ['traceparent', 'tracestate', 'x-request-id'].flatMap((field) => {
      const value = caller[field];
      return value === undefined ? [] : [[field, value]];
    }),
  );
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, path, headers: { ...trace, host: name } }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(parts).toString();
        if (answer.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${name} answered ${answer.statusCode}: ${text.trim()}`));
      });
    });
    outgoing.setTimeout(5_000, () => outgoing.destroy(new Error(`${name} did not answer within 5 s`)));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

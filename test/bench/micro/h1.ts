/**
 * Cost of HTTP/1 heads through the codec: `node test/bench/micro/h1.ts`. Prints nanoseconds of CPU a message, the median
 * of several rounds; a message is parsed as it lies whole in one chunk and written again as the sessions do it.
 */
import { VALUE } from '../../../proxy/http/chars.ts';
import { RequestParser, ResponseParser } from '../../../proxy/http/h1-parser.ts';
import { type ResponseFraming, requestHead, responseHead } from '../../../proxy/http/h1-writer.ts';
import { DEFAULT_LIMITS } from '../../../proxy/http/limits.ts';
import type { RequestHead, ResponseHead } from '../../../proxy/http/message.ts';

const ROUNDS = 15;
const MESSAGES = 40_000;
const FRAMING: ResponseFraming = { version: 11, close: false, keepAlive10: false, requestMethod: 'GET' };

const WRK = 'GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n';
const BROWSER =
  'GET /shop/catalog/items?page=2&sort=price HTTP/1.1\r\nHost: shop.example.com\r\nConnection: keep-alive\r\n' +
  'Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n' +
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n' +
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n' +
  'Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nReferer: https://shop.example.com/shop\r\n' +
  'Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n' +
  'Cookie: session=2f9a7c40e1b54d6f; theme=dark; consent=yes\r\n\r\n';
const NGINX =
  'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 01 Sep 2026 10:00:00 GMT\r\n' +
  'Content-Type: application/octet-stream\r\nContent-Length: 1024\r\nLast-Modified: Mon, 31 Aug 2026 08:00:00 GMT\r\n' +
  'Connection: keep-alive\r\nETag: "68b40a00-400"\r\nAccept-Ranges: bytes\r\n\r\n';

let written = 0;

const requests = new RequestParser(
  {
    onRequest(head: RequestHead): void {
      written += requestHead(head, head.length, '').length;
    },
    onData(): void {},
    onEnd(): void {},
    onRequestError(failure): void {
      throw new Error(failure.word);
    },
  },
  { limits: DEFAULT_LIMITS, scheme: 'http', normalization: 'BASE' },
);

const responses = new ResponseParser(
  {
    onInterim(): void {},
    onResponse(head: ResponseHead): void {
      written += responseHead(head, head.length, FRAMING).length;
    },
    onData(): void {},
    onEnd(): void {},
    onResponseError(failure): void {
      throw new Error(failure.word);
    },
  },
  { limits: DEFAULT_LIMITS },
);

function feedRequest(bytes: Buffer): void {
  requests.feed(bytes, 0, bytes.length);
}

function feedResponse(bytes: Buffer): void {
  responses.expect('GET', null);
  responses.feed(bytes, 0, bytes.length);
}

/** What the machine takes to look at each byte once, right now: the other figures are to be read against it. */
function lookAtHead(bytes: Buffer): void {
  let seen = 0;
  for (let i = 0; i < NGINX.length && VALUE[bytes[i] as number] !== 2; i++) seen++;
  written += seen;
}

function measure(label: string, message: string, feed: (bytes: Buffer) => void): void {
  const bytes = Buffer.from(message, 'latin1');
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage();
    for (let i = 0; i < MESSAGES; i++) feed(bytes);
    rounds.push((process.cpuUsage(start).user * 1000) / MESSAGES);
  }
  rounds.sort((a, b) => a - b);
  const median = rounds[ROUNDS >> 1] as number;
  process.stdout.write(
    `${label.padEnd(48)} ${median.toFixed(0).padStart(6)} ns (best ${(rounds[0] as number).toFixed(0)})\n`,
  );
}

measure('reference: a table look at each response byte', NGINX, lookAtHead);
measure('request, 1 field (wrk): parse and write', WRK, feedRequest);
measure('request, 12 fields (browser): parse and write', BROWSER, feedRequest);
measure('response, 8 fields (nginx, 1 KB body): both', NGINX + 'x'.repeat(1024), feedResponse);
if (written === 0) throw new Error('nothing was written');

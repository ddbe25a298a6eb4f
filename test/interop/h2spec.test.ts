/**
 * The conformance suite of github.com/summerwind/h2spec against a real sidecar, in clear text with prior knowledge and
 * over mutual TLS. h2spec has no client certificate: a pipe of the test terminates its TLS and calls the sidecar as a
 * mesh peer, byte for byte. To have the tool:
 * `GOBIN=$PWD/.cache/h2spec go install github.com/summerwind/h2spec/cmd/h2spec@latest`
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { meshed, TinyMesh } from '../integration/mesh.ts';
import { startBackend, text } from '../support/backend.ts';
import { document } from '../support/policy.ts';
import { startProgram } from '../support/process.ts';
import { skip } from '../support/skips.ts';
import { ROOT, type Weft } from '../support/weft.ts';

const H2SPEC = join(ROOT, '.cache/h2spec/h2spec');
/** All cases of h2spec 2.2.1, the strict ones included: its generic ones, RFC 7540 and RFC 7541. */
const CASES = 146;
const TIMEOUT_MS = 60_000;

/**
 * Cases that a peer of the mesh fails by design: weft announces it SETTINGS_HEADER_TABLE_SIZE 0, and h2spec goes on
 * indexing after it has acknowledged that, or sizes the table at 30 bytes. RFC 7541 section 6.3 makes that a decoding error.
 */
const BY_TABLE_SIZE: readonly string[] = [
  '14: Sends a dynamic table size update',
  '15: Sends multiple dynamic table size update',
  '1: Sends multiple CONTINUATION frames preceded by a HEADERS frame',
];
/** A clear-text port speaks HTTP/1.1 too: what is no preface of HTTP/2 is a malformed request and gets its 400. */
const BY_SNIFFING = '2: Sends invalid connection preface';

const mesh = new TinyMesh();
let weft: Weft;

beforeAll(async () => {
  const app = mesh.own(await startBackend(text('an answer of some length')));
  const permissive = document({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default' },
    spec: { mtls: { mode: 'PERMISSIVE' } },
  });
  weft = await mesh.start({ account: 'spec', app: app.port, documents: [permissive] });
  const declared = meshed({ name: 'app', endpoints: [weft.ports.inbound], appProtocol: 'http' });
  await mesh.apply(weft, 'spec', [permissive, ...declared]);
});
afterAll(() => mesh[Symbol.asyncDispose]());

test('the clear-text listener passes h2spec but for one case', { timeout: TIMEOUT_MS }, async () => {
  expect(await h2spec(weft.ports.inbound)).toEqual({ cases: CASES, failures: [BY_SNIFFING] });
});

test('the listener passes h2spec over mutual TLS but for three cases', { timeout: TIMEOUT_MS }, async () => {
  await using pipe = await openPipe(weft.ports.inbound, mesh.ca.identity('default/caller'));
  expect(await h2spec(pipe.port, '--tls', '--insecure')).toEqual({ cases: CASES, failures: BY_TABLE_SIZE.toSorted() });
});

interface Outcome {
  /** Lines of the cases that failed. */
  readonly failures: readonly string[];
  readonly cases: number;
}

async function h2spec(port: number, ...flags: string[]): Promise<Outcome> {
  if (!existsSync(H2SPEC)) skip('h2spec is not in .cache/h2spec (go install, see the head of the file)');
  const args = ['--host', '127.0.0.1', '--port', String(port), '--strict', ...flags];
  await using program = startProgram({ command: H2SPEC, args });
  await program.exit;
  const summary = /^(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed$/m.exec(program.output);
  if (summary === null) throw new Error(`no summary:\n${program.output}`);
  const [, cases, passed] = summary;
  console.log(`h2spec: ${passed} of ${cases} cases${flags.length > 0 ? ' over mutual TLS' : ''}`);
  // A case is listed where it ran and again at the end.
  const listed = program.lines.filter((line) => line.includes('×')).map((line) => line.replace(/^ *× /, ''));
  return { cases: Number(cases), failures: listed.slice(0, listed.length / 2).toSorted() };
}

/** Accepts any TLS that offers h2 and passes the bytes on to the sidecar, as a peer of the mesh. */
async function openPipe(
  target: number,
  { certificateChain, privateKey }: Identity,
): Promise<AsyncDisposable & { port: number }> {
  const material = { cert: certificateChain, key: privateKey };
  const server = createServer({ ...material, ALPNProtocols: ['h2'] }, (from) => {
    const onto = connect({
      ...material,
      port: target,
      host: '127.0.0.1',
      ALPNProtocols: ['istio-h2'],
      rejectUnauthorized: false,
    });
    relay(from, onto);
    relay(onto, from);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Bytes and both kinds of end, one way. */
function relay(from: TLSSocket, onto: TLSSocket): void {
  from.pipe(onto);
  from.on('error', () => onto.destroy());
  from.on('close', () => onto.destroySoon());
}

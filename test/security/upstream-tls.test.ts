/** No byte of an endpoint is believed before its handshake is verified. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Identity } from '../../certs/identity.ts';
import { get, meshed, TinyMesh, wordOf } from '../integration/mesh.ts';
import { startRawBackend } from '../support/backend.ts';
import { TestCa } from '../support/certificates.ts';
import { openClient } from '../support/client.ts';
import type { Weft } from '../support/weft.ts';
import { answerWith } from './stage.ts';

const FORGED = answerWith('forged');
let mesh: TinyMesh;
let weft: Weft;
const servers: Server[] = [];

/** A TLS server that speaks the moment its own side of the handshake is done, and notes what it is told. */
async function eager(identity: Identity, heard: string[], options: object = {}): Promise<number> {
  const server = createServer(
    {
      cert: identity.certificateChain,
      key: identity.privateKey,
      ca: identity.trustBundle,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ...options,
    },
    (socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: Buffer) => heard.push(chunk.toString('latin1')));
      socket.write(FORGED);
    },
  ).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const heardByStranger: string[] = [];
const heardByNeighbour: string[] = [];
const heardByOld: string[] = [];
const heardInPlain: string[] = [];

beforeAll(async () => {
  mesh = new TinyMesh();
  const plainSpeaker = mesh.own(
    await startRawBackend((socket, received) => {
      heardInPlain.push(received.toString('latin1'));
      socket.write(FORGED);
    }),
  );
  const stranger = await eager(new TestCa('somebody else').identity('default/app'), heardByStranger);
  const neighbour = await eager(mesh.ca.identity('other/app'), heardByNeighbour);
  const old = await eager(mesh.ca.identity('default/app'), heardByOld, {
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
  });
  weft = await mesh.start({
    account: 'caller',
    documents: [
      ...meshed({ name: 'plain', endpoints: [plainSpeaker.port] }),
      ...meshed({ name: 'stranger', endpoints: [stranger] }),
      ...meshed({ name: 'neighbour', endpoints: [neighbour] }),
      ...meshed({ name: 'old', endpoints: [old] }),
    ],
  });
});
afterAll(async () => {
  for (const server of servers) server.close();
  await mesh[Symbol.asyncDispose]();
});

test.for([
  ['answers a ClientHello in plain text', 'plain', 'upstream_tls_failed', heardInPlain],
  ['has a certificate of another CA', 'stranger', 'upstream_untrusted_ca', heardByStranger],
  ['is of another namespace', 'neighbour', 'upstream_identity_not_allowed', heardByNeighbour],
  ['knows only TLS 1.2', 'old', 'upstream_tls_failed', heardByOld],
] as const)('an endpoint that %s is believed nothing and told nothing', async ([, host, word, heard]) => {
  using client = await openClient(weft.ports.outbound);
  const answer = await client.exchange(get(host, '/secret-path', 'Authorization: Bearer canary'));
  expect(answer.status).toBe(502);
  expect(wordOf(answer)).toBe(word);
  expect(client.text).not.toContain('forged');
  expect(heard.join('')).not.toContain('canary');
  expect(heard.join('')).not.toContain('secret-path');
});

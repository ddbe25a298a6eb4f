/** HAProxy: one thread, logs off, upstream connections shared between all requests. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { answersOn, freePort } from '../../support/ports.ts';
import { isInstalled, type Program, startProgram } from '../../support/process.ts';
import { type Deployment, deploymentOf, type Peer, pairOf } from '../peer.ts';
import type { Site } from '../site.ts';

export const haproxy: Peer = {
  name: 'haproxy',
  compilesUnderLoad: false,
  missing: () => (isInstalled('haproxy') ? null : 'haproxy is not installed'),

  async hop(site) {
    const port = await freePort();
    const program = await start(site, 'haproxy-hop', port, { server: `127.0.0.1:${site.origin.port}` });
    return deploymentOf(program, port);
  },

  callee: deployCallee,

  async pair(site) {
    const callee = await deployCallee(site);
    const port = await freePort();
    const server = `127.0.0.1:${callee.port} ${mutualTls(site.callerCerts)}`;
    return pairOf(deploymentOf(await start(site, 'haproxy-caller', port, { server }), port), callee);
  },

  async tunnel(site) {
    const port = await freePort();
    const server = `127.0.0.1:${site.stream.port}`;
    return deploymentOf(await start(site, 'haproxy-tunnel', port, { server, mode: 'tcp' }), port);
  },

  async tunnelPair(site) {
    const [port, between] = [await freePort(), await freePort()];
    const server = `127.0.0.1:${site.stream.port}`;
    const bind = mutualTls(site.calleeCerts);
    const callee = await start(site, 'haproxy-tunnel-callee', between, { server, bind, mode: 'tcp' });
    const onwards = `127.0.0.1:${between} ${mutualTls(site.callerCerts)}`;
    const caller = await start(site, 'haproxy-tunnel-caller', port, { server: onwards, mode: 'tcp' });
    return pairOf(deploymentOf(caller, port), deploymentOf(callee, between));
  },
};

async function deployCallee(site: Site): Promise<Deployment> {
  const port = await freePort();
  const options = { server: `127.0.0.1:${site.origin.port}`, bind: mutualTls(site.calleeCerts) };
  return deploymentOf(await start(site, 'haproxy-callee', port, options), port);
}

function mutualTls(certs: string): string {
  return `ssl crt ${certs}/both.pem ca-file ${certs}/ca.crt verify required`;
}

interface Options {
  /** Address and options of the one upstream server. */
  readonly server: string;
  /** Options of the listener. */
  readonly bind?: string;
  readonly mode?: 'http' | 'tcp';
}

async function start(site: Site, name: string, port: number, options: Options): Promise<Program> {
  const { server, bind = '', mode = 'http' } = options;
  const file = join(site.folder, `${name}.cfg`);
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-bind-curves X25519
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode ${mode}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
${mode === 'http' ? '  http-reuse always\n' : ''}
frontend entry
  bind 127.0.0.1:${port} ${bind} backlog 4096
  default_backend next
backend next
  server only ${server}
`,
  );
  const program = startProgram({ command: 'haproxy', args: ['-db', '-f', file], cpu: site.proxyCpu });
  await eventually(`${name} accepts`, () => answersOn(program, [port]));
  return program;
}

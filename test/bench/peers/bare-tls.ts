/** `node:tls` by itself: the floor for handshakes and idle connections, no proxy at all. */
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { answersOn, freePort } from '../../support/ports.ts';
import { startProgram } from '../../support/process.ts';
import { deploymentOf, type Peer } from '../peer.ts';

const SERVER = join(import.meta.dirname, '../programs/bare-tls-server.ts');

export const bareTls: Peer = {
  name: 'node:tls',
  compilesUnderLoad: true,
  missing: () => null,

  async callee(site) {
    const port = await freePort();
    const args = [SERVER, String(port), site.calleeCerts];
    const program = startProgram({ command: process.execPath, args, cpu: site.proxyCpu });
    await eventually('node:tls accepts', () => answersOn(program, [port]));
    return deploymentOf(program, port);
  },
};

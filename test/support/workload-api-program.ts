/**
 * The Workload API of test/support/workload-api in a process of its own, so that it can be killed and stopped (SIGSTOP):
 * `node workload-api-program.ts SOCKET FILE`. FILE holds an identity as JSON; SIGHUP pushes what it holds then.
 */
import { readFileSync, rmSync } from 'node:fs';
import type { Identity } from '../../certs/identity.ts';
import { WorkloadApi } from './workload-api.ts';

const [socket = '', file = ''] = process.argv.slice(2);
const push = (): void => api.push(JSON.parse(readFileSync(file, 'utf8')) as Identity);

rmSync(socket, { force: true });
const api = new WorkloadApi(socket);
process.on('SIGHUP', push);
await api.listen();
push();
console.log('listening');

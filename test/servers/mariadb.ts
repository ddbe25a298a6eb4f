/** A MariaDB server of its own for a test, and the command lines that talk to it. */
import { writeFileSync } from 'node:fs';
import { runProgram, startProgram } from '../support/process.ts';
import { unprivileged, unprivilegedFolder } from '../support/unprivileged.ts';

export const PASSWORD: string = 'correct horse';
const SETUP = `CREATE USER 'weft'@'%' IDENTIFIED BY '${PASSWORD}';
GRANT ALL ON *.* TO 'weft'@'%';
CREATE DATABASE shop;
CREATE TABLE shop.blobs (name VARCHAR(20) PRIMARY KEY, body LONGBLOB) ENGINE=MyISAM;
CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, amount INT) ENGINE=InnoDB;
`;
const START_MS = 60_000;

export interface MariaDbOptions {
  readonly address: string;
  readonly port: number;
  /** Network namespace to run it in; the host's own without one. */
  readonly namespace?: string;
}

/** Starts it; answers its folder. What `owned` gets ends it and removes the folder. */
export async function startMariaDb(owned: AsyncDisposableStack, options: MariaDbOptions): Promise<string> {
  const { address, port, namespace } = options;
  const folder = owned.use(unprivilegedFolder('weft-mariadb-')).path;
  const data = `${folder}/data`;
  const install = ['--no-defaults', `--datadir=${data}`, '--skip-test-db', '--auth-root-authentication-method=normal'];
  await runProgram(unprivileged({ command: 'mariadb-install-db', args: install }));
  writeFileSync(`${folder}/setup.sql`, SETUP);
  const args = ['--no-defaults', `--datadir=${data}`, `--socket=${folder}/socket`, `--pid-file=${folder}/pid`];
  args.push(`--bind-address=${address}`, `--port=${port}`, '--skip-name-resolve', '--max-allowed-packet=64M');
  args.push(`--init-file=${folder}/setup.sql`);
  const { command, args: words = [] } = unprivileged({ command: 'mariadbd', args });
  const inside = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
  const [first = command, ...rest] = [...inside, command, ...words];
  const server = owned.use(startProgram({ command: first, args: rest }));
  await server.waitForLine((line) => line.includes('ready for connections') || undefined, START_MS);
  return folder;
}

/** A client's command line, but for what it is to do; it finds the password in `MYSQL_PWD`. */
export function mariaDbClient(host: string, port: number): string {
  const where = `--protocol=TCP --host=${host} --port=${port} --user=weft --max-allowed-packet=64M`;
  return `mariadb --no-defaults ${where} --skip-column-names --batch --raw shop`;
}

import { readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { postgresProgram } from '../support/debian.ts';
import { freePort } from '../support/ports.ts';
import { runProgram } from '../support/process.ts';
import { giveAway, unprivileged, unprivilegedFolder } from '../support/unprivileged.ts';
import { carriages } from './pair.ts';
import { behindSidecars, expectIdentity, randomText, sha256, shell, startServer } from './stage.ts';

const PASSWORD = 'correct horse';
/** The name in the server's own certificate, which its clients insist on. */
const HOST = 'database.test';

let folder: string;
const stage = behindSidecars(['postgresql'], async (owned) => {
  folder = owned.use(unprivilegedFolder('weft-postgresql-')).path;
  const certs = `${folder}/certs`;
  writeIdentity(certs, new TestCa('database root').identity('default/database', { dnsNames: [HOST] }));
  writeFileSync(`${folder}/password`, PASSWORD);
  for (const path of [certs, `${certs}/tls.key`, `${certs}/tls.crt`, `${folder}/password`]) giveAway(path);
  const data = `${folder}/data`;
  const init = ['-D', data, '-U', 'weft', '--auth=scram-sha-256', `--pwfile=${folder}/password`, '--no-locale'];
  await runProgram(unprivileged({ command: program('initdb'), args: [...init, '--no-sync', '--encoding=UTF8'] }));
  const port = await freePort();
  const settings = { listen_addresses: '127.0.0.1', unix_socket_directories: folder, fsync: 'off', ssl: 'on' };
  const files = { ssl_cert_file: `${certs}/tls.crt`, ssl_key_file: `${certs}/tls.key` };
  const flags = Object.entries({ ...settings, ...files }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  owned.use(
    await startServer({ command: program('postgres'), args: ['-D', data, '-p', String(port), ...flags] }, port),
  );
  return port;
});

function program(name: string): string {
  return postgresProgram(name) ?? name;
}

const TLS_MODES = [
  { tls: 'without TLS', settings: 'sslmode=disable', inside: 'f' },
  { tls: 'with TLS of its own', settings: 'sslmode=verify-full', inside: 't' },
];
const VARIANTS = carriages('tcp').flatMap((carriage) => TLS_MODES.map((mode) => ({ ...carriage, ...mode })));

describe.each(VARIANTS)('PostgreSQL $tls behind $name', (variant) => {
  let where: string;
  let psql: string;
  beforeEach(async () => {
    const { port } = await stage().pair.carry(variant);
    const tls = `${variant.settings} sslrootcert=${folder}/certs/ca.crt`;
    where = `'host=${HOST} hostaddr=127.0.0.1 port=${port} user=weft dbname=postgres ${tls} gssencmode=disable'`;
    psql = `${program('psql')} --no-psqlrc -At -v ON_ERROR_STOP=1 ${where}`;
  });
  const run = (line: string): Promise<string> => shell(line, { PGPASSWORD: PASSWORD });

  test('asks for the password and answers', async () => {
    const question = 'SELECT ssl, 6 * 7 FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
    expect(await run(`${psql} -c '${question}'`)).toBe(`${variant.inside}|42`);
  });

  test('refuses a wrong password in its own words', async () => {
    const wrong = shell(`${psql} -c 'SELECT 1'`, { PGPASSWORD: 'wrong' });
    await expect(wrong).rejects.toThrow('password authentication failed');
  });

  test('runs prepared statements of the extended protocol', async () => {
    const script = `${folder}/script.sql`;
    writeFileSync(script, '\\set n random(1, 100)\nSELECT :n + 1;\n');
    const report = await run(`${program('pgbench')} -n -M prepared -c 2 -t 10 -f ${script} ${where}`);
    expect(report).toContain('number of transactions actually processed: 20/20');
    expect(report).toContain('number of failed transactions: 0');
  });

  test('takes and gives as many rows as are worth the time by COPY', async () => {
    const rows = Array.from({ length: Math.ceil(variant.bulk / 1_000) }, (_, i) => randomText(999, i)).join('\n');
    writeFileSync(`${folder}/rows`, rows);
    const copy = `CREATE TEMP TABLE rows (n SERIAL, body TEXT);
\\copy rows (body) FROM '${folder}/rows'
\\copy (SELECT body FROM rows ORDER BY n) TO '${folder}/back'
`;
    writeFileSync(`${folder}/copy.sql`, copy);
    await run(`${psql} -f ${folder}/copy.sql`);
    expect(sha256(readFileSync(`${folder}/back`, 'utf8').trimEnd())).toBe(sha256(rows));
  });

  test('had its connections from a verified identity, and no others', () => expectIdentity(stage(), variant));
});

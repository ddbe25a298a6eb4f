import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { TestCa, writeIdentity } from '../support/certificates.ts';
import { openClient } from '../support/client.ts';
import { freePort } from '../support/ports.ts';
import { giveAway, unprivilegedFolder } from '../support/unprivileged.ts';
import { carriages } from './pair.ts';
import { behindSidecars, expectIdentity, randomText, shell, startServer } from './stage.ts';

/** The name in the server's own certificate, which its clients insist on. */
const HOST = 'mail.test';
/** A line of a message may have 998 characters (RFC 5322 section 2.1.1). */
const LINE = 900;
/** Mail is not meant for bulk, and this server reads it line by line. */
const MOST_BYTES = 500_000;

let folder: string;
const stage = behindSidecars(['python3-aiosmtpd', 'curl'], async (owned) => {
  folder = owned.use(unprivilegedFolder('weft-smtp-')).path;
  const certs = `${folder}/certs`;
  writeIdentity(certs, new TestCa('mail root').identity('default/mail', { dnsNames: [HOST] }));
  for (const path of [certs, `${certs}/tls.key`, `${certs}/tls.crt`]) giveAway(path);
  const port = await freePort();
  const args = ['-m', 'aiosmtpd', '--nosetuid', '--listen', `127.0.0.1:${port}`, '--no-requiretls'];
  args.push('--tlscert', `${certs}/tls.crt`, '--tlskey', `${certs}/tls.key`);
  args.push('--class', 'aiosmtpd.handlers.Mailbox', `${folder}/mail`);
  // Debian's own Python is the one that has Debian's packages.
  owned.use(await startServer({ command: '/usr/bin/python3', args, cwd: folder }, port));
  return port;
});

/** Messages received since the last call, CRLF as LF. */
function takeMail(): string[] {
  const fresh = `${folder}/mail/new`;
  const files = readdirSync(fresh).map((name) => `${fresh}/${name}`);
  const messages = files.map((file) => readFileSync(file, 'utf8').replaceAll('\r\n', '\n'));
  for (const file of files) rmSync(file);
  return messages;
}

describe.each(carriages('tcp'))('an SMTP server behind $name', (carriage) => {
  let port: number;
  beforeEach(async () => {
    ({ port } = await stage().pair.carry(carriage));
  });

  test('greets first, and answers each line of a dialogue', async () => {
    using client = await openClient(port);
    const answers: string[] = [];
    const answer = async (): Promise<void> => {
      const from = answers.join('').length;
      const text = await client.until(() => /^(?:\d{3}-.*\r\n)*\d{3} .*\r\n/.exec(client.text.slice(from))?.[0]);
      answers.push(text);
    };
    await answer();
    const message = 'Subject: dialogue\r\n\r\nhello\r\n.';
    for (const line of ['EHLO app', 'MAIL FROM:<a@test>', 'RCPT TO:<b@test>', 'DATA', message, 'QUIT']) {
      await client.write(`${line}\r\n`);
      await answer();
    }
    expect(answers.map((text) => text.slice(0, 3))).toEqual(['220', '250', '250', '250', '354', '250', '221']);
    expect(await client.ended).toBe('fin');
    expect(takeMail().join()).toMatch(/^Subject: dialogue$[^]*^hello$/m);
  });

  test.each([
    { how: 'in the clear', flags: (): string => '' },
    { how: 'after STARTTLS', flags: (): string => `--ssl-reqd --cacert ${folder}/certs/ca.crt` },
  ])('takes a message from curl $how, with all its lines', async ({ flags }) => {
    const size = Math.min(carriage.bulk, MOST_BYTES);
    const lines = Array.from({ length: Math.ceil(size / LINE) }, (_, i) => randomText(LINE, i));
    writeFileSync(`${folder}/message`, `Subject: bulk\r\n\r\n${lines.join('\r\n')}\r\n`);
    const where = `smtp://${HOST}:${port}/app --resolve ${HOST}:${port}:127.0.0.1`;
    const what = `--mail-from a@test --mail-rcpt b@test --upload-file ${folder}/message`;
    await shell(`curl --silent --show-error ${flags()} ${where} ${what}`);
    const [message = ''] = takeMail();
    expect(message.slice(message.indexOf('\n\n') + 2).trimEnd() === lines.join('\n')).toBe(true);
  });

  test('had its connections from a verified identity, and no others', () => expectIdentity(stage(), carriage));
});

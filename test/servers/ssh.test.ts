import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Folder } from '../support/policy.ts';
import { answersOn, freePort } from '../support/ports.ts';
import { runProgram, startProgram } from '../support/process.ts';
import { skip } from '../support/skips.ts';
import { carriages } from './pair.ts';
import { behindSidecars, expectIdentity, randomText, sha256, shell } from './stage.ts';

/** Where sshd puts its unprivileged half when it is root; Debian's service makes it, and no service runs here. */
const SEPARATION_FOLDER = '/run/sshd';
const isRoot = process.getuid?.() === 0;
const { shell: loginShell, username } = userInfo();

/** The default exchange costs either end a quarter of a second of CPU, and is not what is under test. */
const KEY_EXCHANGE = 'curve25519-sha256';

let folder: string;
/** sshd lets in the user it runs as, so it runs as the tests do. */
const stage = behindSidecars(['openssh-server', 'openssh-client'], async (owned) => {
  folder = owned.use(new Folder('weft-ssh-')).path;
  if (isRoot) mkdirSync(SEPARATION_FOLDER, { recursive: true });
  for (const key of ['host', 'user']) {
    await runProgram({ command: 'ssh-keygen', args: ['-q', '-t', 'ed25519', '-N', '', '-f', `${folder}/${key}`] });
  }
  const port = await freePort();
  const settings = `ListenAddress 127.0.0.1:${port}
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/user.pub
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
`;
  writeFileSync(`${folder}/sshd_config`, settings);
  const hostKey = readFileSync(`${folder}/host.pub`, 'utf8');
  writeFileSync(`${folder}/known_hosts`, `server ${hostKey}`);
  const sshd = startProgram({ command: '/usr/sbin/sshd', args: ['-D', '-e', '-f', `${folder}/sshd_config`] });
  owned.use(sshd);
  await eventually('sshd accepts', () => answersOn(sshd, [port]));
  return port;
});

describe.each(carriages('tcp'))('OpenSSH behind $name', (carriage) => {
  /** Options that all its clients share, then the port as ssh and as the others write it. */
  let options: string;
  let port: number;
  beforeEach(async () => {
    if (loginShell?.endsWith('/nologin')) skip(`${username} has no login shell, and sshd lets nobody else in`);
    ({ port } = await stage().pair.carry(carriage));
    options = `-F none -i ${folder}/user -o UserKnownHostsFile=${folder}/known_hosts -o HostKeyAlias=server`;
    options += ` -o StrictHostKeyChecking=yes -o BatchMode=yes -o LogLevel=ERROR -o KexAlgorithms=${KEY_EXCHANGE}`;
  });

  test('runs a command and passes its exit code on', async () => {
    expect(await shell(`ssh ${options} -p ${port} 127.0.0.1 'echo $((6 * 7))'`)).toBe('42');
    await expect(shell(`ssh ${options} -p ${port} 127.0.0.1 'exit 3'`)).rejects.toThrow('ended with 3');
  });

  test('pipes a command of which the input ends before the output begins', async () => {
    expect(await shell(`printf 'b\\na\\n' | ssh ${options} -p ${port} 127.0.0.1 sort`)).toBe('a\nb');
  });

  test('copies a file of the size that is worth the time by sftp and by scp, there and back', async () => {
    const text = randomText(carriage.bulk);
    const file = `${folder}/file`;
    writeFileSync(file, text);
    const batch = `${folder}/batch`;
    writeFileSync(batch, `put ${file} ${file}.there\nget ${file}.there ${file}.back\n`);
    await shell(`sftp -q ${options} -P ${port} -b ${batch} 127.0.0.1`);
    expect(sha256(readFileSync(`${file}.back`))).toBe(sha256(text));
    await shell(`scp -q ${options} -P ${port} 127.0.0.1:${file}.there ${file}.copy`);
    expect(sha256(readFileSync(`${file}.copy`))).toBe(sha256(text));
  });

  test('had its connections from a verified identity, and no others', () => expectIdentity(stage(), carriage));
});

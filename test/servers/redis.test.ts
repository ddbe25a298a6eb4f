import { readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../support/ports.ts';
import { startProgram } from '../support/process.ts';
import { unprivilegedFolder } from '../support/unprivileged.ts';
import { carriages } from './pair.ts';
import { behindSidecars, expectIdentity, randomText, shell, startServer } from './stage.ts';

/** Bytes that a small command and its answer cost on the wire, about. */
const COMMAND_BYTES = 40;

/** A command as Redis clients send it. */
function resp(...words: string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;
}

let folder: string;
const stage = behindSidecars(['redis-server'], async (owned) => {
  folder = owned.use(unprivilegedFolder('weft-redis-')).path;
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
  owned.use(await startServer({ command: 'redis-server', args }, port));
  return port;
});

describe.each(carriages('tcp'))('Redis behind $name', (carriage) => {
  const { bulk } = carriage;
  /** A client and where it finds the server. */
  let cli: string;
  let where: string;
  beforeEach(async () => {
    const { port } = await stage().pair.carry(carriage);
    where = `-h 127.0.0.1 -p ${port}`;
    cli = `redis-cli ${where}`;
    await shell(`redis-cli -p ${stage().serverPort} flushall`);
  });

  test('keeps what redis-cli sets', async () => {
    expect(await shell(`${cli} ping`)).toBe('PONG');
    expect(await shell(`${cli} set greeting 'hello there'`)).toBe('OK');
    expect(await shell(`${cli} get greeting`)).toBe('hello there');
  });

  test('answers commands that come in a pipeline, each of them and in order', async () => {
    const count = Math.ceil(Math.min(bulk, 400_000) / COMMAND_BYTES);
    const commands = Array.from({ length: count }, (_, i) => resp('RPUSH', 'list', String(i))).join('');
    const file = `${folder}/commands`;
    writeFileSync(file, commands);
    expect(await shell(`${cli} --pipe < ${file}`)).toContain(`errors: 0, replies: ${count}`);
    const list = await shell(`redis-cli -p ${stage().serverPort} lrange list 0 -1`);
    expect(list).toBe(Array.from({ length: count }, (_, i) => String(i)).join('\n'));
  });

  test('carries a value of the size that is worth the time, there and back', async () => {
    const file = `${folder}/value`;
    const value = randomText(bulk);
    writeFileSync(file, value);
    expect(await shell(`${cli} -x set value < ${file}`)).toBe('OK');
    await shell(`${cli} get value > ${file}.back`);
    expect(readFileSync(`${file}.back`, 'utf8').trimEnd() === value).toBe(true);
  });

  test('serves redis-benchmark with parallel pipelining clients', async () => {
    const requests = Math.ceil(Math.min(bulk, 400_000) / COMMAND_BYTES);
    const report = await shell(`redis-benchmark ${where} -c 4 -P 16 -n ${requests} -t set,get --csv`);
    expect(report).toMatch(/^"SET",/m);
    expect(report).toMatch(/^"GET",/m);
  });

  test('pushes to a subscriber, which says nothing meanwhile', async () => {
    const subscriber = startProgram({ command: 'redis-cli', args: [...where.split(' '), 'subscribe', 'news'] });
    await subscriber.waitForLine((line) => line === '1' || undefined);
    expect(await shell(`redis-cli -p ${stage().serverPort} publish news extra`)).toBe('1');
    await subscriber.waitForLine((line) => line === 'extra' || undefined);
    await subscriber.stop();
  });

  test('had its connections from a verified identity, and no others', () => expectIdentity(stage(), carriage));
});

import { readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../support/ports.ts';
import { mariaDbClient, PASSWORD, startMariaDb } from './mariadb.ts';
import { carriages } from './pair.ts';
import { behindSidecars, expectIdentity, randomText, sha256, shell } from './stage.ts';

let folder: string;
const stage = behindSidecars(['mariadb-server-core', 'mariadb-client-core'], async (owned) => {
  const port = await freePort();
  folder = await startMariaDb(owned, { address: '127.0.0.1', port });
  return port;
});

describe.each(carriages('tcp'))('MariaDB behind $name', (carriage) => {
  /** The client's command line, but for what it is to do. */
  let client: string;
  beforeEach(async () => {
    const { port } = await stage().pair.carry(carriage);
    client = mariaDbClient('127.0.0.1', port);
  });
  const sql = (statements: string): Promise<string> => shell(`${client} -e "${statements}"`, { MYSQL_PWD: PASSWORD });

  test('greets, asks for the password, and answers', async () => {
    expect(await sql('SELECT CURRENT_USER(), 6 * 7')).toBe('weft@%\t42');
  });

  test('refuses a wrong password in its own words', async () => {
    await expect(shell(`${client} -e 'SELECT 1'`, { MYSQL_PWD: 'wrong' })).rejects.toThrow('ERROR 1045 (28000)');
  });

  test('runs prepared statements in a transaction', async () => {
    const answer = await sql(`
      DELETE FROM orders; START TRANSACTION;
      PREPARE add_order FROM 'INSERT INTO orders (amount) VALUES (? * 2)'; SET @amount = 21;
      EXECUTE add_order USING @amount; EXECUTE add_order USING @amount; COMMIT;
      PREPARE total FROM 'SELECT COUNT(*), SUM(amount) FROM orders WHERE amount = ?'; SET @twice = 42;
      EXECUTE total USING @twice`);
    expect(answer).toBe('2\t84');
  });

  test('keeps a blob of the size that is worth the time, and gives it back', async () => {
    const body = randomText(carriage.bulk);
    writeFileSync(`${folder}/insert.sql`, `REPLACE INTO blobs VALUES ('it', '${body}');`);
    await shell(`${client} < ${folder}/insert.sql`, { MYSQL_PWD: PASSWORD });
    expect(await sql('SELECT SHA2(body, 256) FROM blobs')).toBe(sha256(body));
    await shell(`${client} -e 'SELECT body FROM blobs' > ${folder}/body`, { MYSQL_PWD: PASSWORD });
    expect(sha256(readFileSync(`${folder}/body`, 'utf8').trimEnd())).toBe(sha256(body));
  });

  test('had its connections from a verified identity, and no others', () => expectIdentity(stage(), carriage));
});

import { expect, onTestFinished, test, vi } from 'vitest';
import { get } from '../../integration/mesh.ts';
import { eventually } from '../../support/eventually.ts';
import { RoomStage } from './room-stage.ts';

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

test('what waits behind a request is copied once, however many requests it holds', async () => {
  await using stage = await RoomStage.open();
  stage.serve = (socket) => {
    socket.on('data', (bytes: Buffer) => {
      socket.write(ANSWER.repeat(bytes.toString('latin1').split('\r\n\r\n').length - 1));
    });
  };
  using client = await stage.connect();
  const count = 1000;
  const requests = get('app').repeat(count);
  const copies = vi.spyOn(Buffer, 'from');
  onTestFinished(() => copies.mockRestore());
  await client.write(requests);
  await eventually('all are answered', () => client.text.split(ANSWER.slice(-4)).length > count || undefined);
  const copied = copies.mock.calls
    .map(([what]: readonly unknown[]) => (what instanceof Uint8Array ? what.length : 0))
    .reduce((sum, length) => sum + length, 0);
  expect(copied).toBeLessThan(2 * requests.length);
});

/**
 * A service to be killed: `node upstream.ts PORT`. Says its process id to a GET, and prints the `x-id` of each POST that it
 * has acted on. SIGTERM ends it the way servers end in a rollout: no new connections, idle ones closed, answers finished.
 */
import { createServer } from 'node:http';

const server = createServer({ keepAliveTimeout: 5_000 }, (request, response) => {
  request.resume();
  request.on('end', () => {
    if (request.method === 'POST') console.log(`acted ${String(request.headers['x-id'])}`);
    response.end(`ok ${process.pid}\n`);
  });
});

server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));

process.once('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

import { call, serve } from './service.ts';

const { VERSION, INSTANCE } = process.env;

serve(async (headers) => ({
  version: VERSION,
  instance: INSTANCE,
  items: ['warp', 'weft', 'shuttle'],
  stock: await call('inventory', '/stock', headers),
}));

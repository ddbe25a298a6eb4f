import { call, serve } from './service.ts';

serve(async (headers) => ({ shop: 'storefront', catalog: await call('catalog', '/items', headers) }));
